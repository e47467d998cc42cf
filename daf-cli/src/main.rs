//! The daf-cli command. Everything is in the library, so that a program with further plugins has it as well.

fn main() -> std::process::ExitCode {
    daf_cli::main()
}
