//! How long libtorch's threads keep a core busy while they wait for each other.
//!
//! OpenMP's threads wait awake for some milliseconds, which keeps cores from whoever else has work on the machine: a thread that is
//! waited for may then not come to its turn, and a training becomes many times slower. Waiting asleep from the start costs a lone
//! training a tenth. A short wait awake costs nothing alone and little in company ([docs/performance.md](../../docs/performance.md)).
//! OpenMP reads this from the environment when it is loaded, so the program starts itself again with it, once.

use std::ffi::{CStr, c_char};
use std::{env, ptr};

/// Turns of a loop that OpenMP's threads wait for: some ten microseconds.
const SPINS: &CStr = c"GOMP_SPINCOUNT=20000";

/// Variables of the user's own settings, which are left as they are.
const VARIABLES: [&str; 2] = ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"];

/// Starts the program again with [`SPINS`], unless its environment says already how threads wait. If the system refuses, everything
/// goes on as it is.
///
/// # Safety
/// Called before the libraries of the program are initialised, with what the loader hands to functions that are.
#[allow(unsafe_code)]
pub(crate) unsafe fn shorten(arguments: *const *const c_char, environment: *const *const c_char) {
    // There is no memory to be had yet but this.
    const MOST: usize = 1 << 12;
    let mut extended = [ptr::null::<c_char>(); MOST];
    // SAFETY: the environment is a list of texts that ends with a null pointer.
    unsafe {
        let mut count = 0;
        loop {
            let variable = *environment.add(count);
            if variable.is_null() {
                break;
            }
            let text = CStr::from_ptr(variable).to_bytes();
            let is = |name: &&str| {
                text.strip_prefix(name.as_bytes())
                    .is_some_and(|rest| rest.first() == Some(&b'='))
            };
            // The last place but one is for ours, the last for the end.
            if VARIABLES.iter().any(is) || count + 2 == MOST {
                return;
            }
            extended[count] = variable;
            count += 1;
        }
        extended[count] = SPINS.as_ptr();
        // Does not return unless it fails.
        libc::execve(c"/proc/self/exe".as_ptr(), arguments, extended.as_ptr());
    }
}

/// How threads wait, in words.
pub(crate) fn described() -> String {
    let set = VARIABLES
        .iter()
        .find_map(|name| Some((name, env::var(name).ok()?)));
    match set {
        Some((name, value)) => format!("threads that wait for each other do so by {name}={value}"),
        None => {
            "threads that wait for each other keep their cores busy; OMP_WAIT_POLICY=passive has them sleep"
                .into()
        }
    }
}
