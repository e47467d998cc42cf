use daf_core::libtorch::loaded;
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LAZY};

const CUDA: &str = "libtorch_cuda.so";

/// Loads libtorch's CUDA library if there is one. It registers itself, so that a program that was linked for the CPU can
/// use the GPU. Has to come before libtorch is first asked for CUDA, which it remembers.
pub(crate) fn load() {
    // The one beside the libtorch in use fits it; the loader's may be of another version.
    let beside = loaded("libtorch_cpu.so")
        .map(|library| library.with_file_name(CUDA))
        .filter(|path| path.is_file());
    let name = beside.unwrap_or_else(|| CUDA.into());
    match open(&name) {
        Ok(()) => tracing::debug!("loaded {}", name.display()),
        Err(error) if name.is_absolute() => {
            tracing::warn!("no CUDA: {} cannot be loaded: {error}", name.display());
        }
        Err(error) => tracing::debug!("no CUDA: {error}"),
    }
}

#[allow(unsafe_code)]
fn open(name: &std::path::Path) -> Result<(), libloading::Error> {
    // SAFETY: loading a library runs its initialisers. Those of libtorch_cuda.so register kernels with the libtorch that
    // is loaded already, which is what they are for, and this happens before any tensor exists, and before any thread but the
    // one that waits for signals. The library is never closed, so nothing that was registered can dangle.
    let library = unsafe { Library::open(Some(name), RTLD_LAZY | RTLD_GLOBAL) }?;
    std::mem::forget(library);
    Ok(())
}
