//! Commands that build one program and run it with the arguments of the user.

pub mod assertions;
pub mod bench;
pub mod determinism;
pub mod differential;
pub mod power_cuts;
pub mod simulator;

/// Arguments that are passed to a program. The program has a `--help` of its own.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Arguments {
    /// Arguments of the program.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}
