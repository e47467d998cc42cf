//! Nothing is built; the key `links` in Cargo.toml demands a build script.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
