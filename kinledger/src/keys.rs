//! `kinledger keys`: the keys that sign access tokens.

use std::{path::Path, process::ExitCode};

use anyhow::{Context, Result};
use clap::Subcommand;
use command_api::identity::{Secret, rotate_signing_key};
use service_kit::database::{self, DatabaseRole};

/// What can be done with them.
#[derive(Subcommand)]
pub enum KeysCommand {
    /// Make the next signing key now instead of at the end of its month. Nobody is signed out.
    RotateSigning {
        /// The installation's secret as 64 hexadecimal digits; without it, the file `secret` of the data folder.
        #[arg(long, env = "KINLEDGER_SECRET", hide_env_values = true)]
        secret: Option<String>,
    },
}

/// Runs one on the ledger at `url`.
///
/// # Errors
/// When the secret is missing or does not fit the database, or the database does not answer.
pub async fn run(command: KeysCommand, url: &str, data_dir: &Path) -> Result<ExitCode> {
    let KeysCommand::RotateSigning { secret } = command;
    let text = match secret {
        Some(text) => text,
        None => {
            let path = data_dir.join("secret");
            std::fs::read_to_string(&path).with_context(|| format!("cannot read the secret in {}", path.display()))?
        }
    };
    let secret = Secret::parse(&text)?;
    let pool = database::connect(url, DatabaseRole::Writer, 2).await?;
    let next = rotate_signing_key(pool, &secret).await?;
    println!(
        "key {} signs from {}",
        next.kid,
        next.signs_from.format("%Y-%m-%d %H:%M:%S UTC")
    );
    println!("the key before it verifies on until its last token has expired");
    Ok(ExitCode::SUCCESS)
}
