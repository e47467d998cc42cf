use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::failure::Failure;
use crate::{Cli, Context};

/// Print what a shell completes the program's arguments with
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli completions bash > ~/.local/share/bash-completion/completions/daf-cli
  daf-cli completions zsh > ~/.zfunc/_daf-cli
  daf-cli completions fish > ~/.config/fish/completions/daf-cli.fish")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let mut text = Vec::new();
        generate(self.shell, &mut Cli::command(), "daf-cli", &mut text);
        Ok(context.out.write_all(&text)?)
    }
}
