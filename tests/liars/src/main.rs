//! A `daf-cli` whose parts cannot be trusted.

mod images;
mod networks;

fn main() -> std::process::ExitCode {
    daf_cli::main()
}
