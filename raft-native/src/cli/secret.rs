//! `raft secret`: the cluster secret.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use raft_native::ClusterSecret;

use super::{Failure, print_line};

#[derive(Args)]
pub(crate) struct SecretArgs {
    #[command(subcommand)]
    command: SecretCommand,
}

#[derive(Subcommand)]
enum SecretCommand {
    /// Make a new cluster secret: 32 random bytes in hex.
    New {
        /// The new file, which only this user can read [default: print the secret].
        file: Option<PathBuf>,
    },
}

pub(crate) fn run(args: &SecretArgs) -> Result<ExitCode, Failure> {
    let SecretCommand::New { file } = &args.command;
    let secret = ClusterSecret::generate().map_err(|error| Failure::Failed(error.to_string()))?;
    match file {
        None => print_line(secret.to_hex())?,
        Some(path) => {
            let mut options = OpenOptions::new();
            let file = options.write(true).create_new(true).mode(0o600).open(path);
            file.and_then(|mut file| writeln!(file, "{}", secret.to_hex())).map_err(|error| {
                Failure::Failed(format!(
                    "cannot make the secret file {}: {error}; choose another path",
                    path.display()
                ))
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
