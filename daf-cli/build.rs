//! Tells the program where it is compiled: `daf-cli build` compiles there again, where nearly everything is there already.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // <target>/<debug or release>/build/<crate>/out
    let out = env::var("OUT_DIR").expect("Cargo sets OUT_DIR");
    let target = Path::new(&out).ancestors().nth(4).unwrap_or(Path::new(""));
    println!("cargo::rustc-env=DAF_TARGET={}", target.display());
    println!(
        "cargo::rustc-env=DAF_PROFILE={}",
        env::var("PROFILE").expect("Cargo sets PROFILE")
    );
}
