//! `kinledger audit key`: the public key that verifiers need, and its succession.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use command_api::identity::security_events::{self, Kind, SecurityEvent};
use event_store::seal::{known_keys, log_name, rotate, signing_key};
use serde_json::json;
use service_kit::database::{self, DatabaseRole};

use super::open;
use crate::{keys::Ledger, sealing::KEY_FILE};

/// What to do with the key.
#[derive(Debug, Args)]
pub struct KeyOptions {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Print the public key that checkpoints are signed with, for auditors: `kinledger/…+hash+key`.
    Show {
        /// The file of the signing key, if it is to be asked which key signs; without it, that of the data folder.
        #[arg(long, value_name = "FILE", env = "KINLEDGER_SEALING_KEY_FILE")]
        sealing_key_file: Option<PathBuf>,
        /// Print all keys there were, with the notes by which they named each other.
        #[arg(long)]
        json: bool,
    },
    /// Make a new signing key, named by the old one; who holds the old public key can follow. A running sealer takes it at once.
    Rotate {
        /// The file of the signing key; without it, that of the data folder.
        #[arg(long, value_name = "FILE", env = "KINLEDGER_SEALING_KEY_FILE")]
        sealing_key_file: Option<PathBuf>,
        /// The old key is lost or stolen: the new one is not named by it, and auditors have to be told by hand.
        #[arg(long)]
        lost: bool,
    },
}

pub(super) async fn run(options: KeyOptions, ledger: &Ledger, data_dir: &Path) -> Result<()> {
    match options.command {
        KeyCommand::Show {
            sealing_key_file,
            json: is_json,
        } => {
            let log = open(ledger).await?;
            if is_json {
                let keys = known_keys(log.pool()).await.context("cannot read the keys")?;
                let keys: Vec<_> = keys
                    .iter()
                    .map(|key| json!({"number": key.number, "verifier_key": key.verifier_key, "transition": key.transition}))
                    .collect();
                println!("{}", json!({"keys": keys}));
            } else {
                let file = sealing_key_file.unwrap_or_else(|| data_dir.join(KEY_FILE));
                let key = signing_key(log.pool(), Some(&file))
                    .await
                    .context("cannot read the keys")?;
                println!("{}", key.context("nothing has been sealed yet: there is no key")?);
            }
        }
        KeyCommand::Rotate { sealing_key_file, lost } => {
            let pool = database::connect(&ledger.url, DatabaseRole::Sealer, 2).await?;
            let file = sealing_key_file.unwrap_or_else(|| data_dir.join(KEY_FILE));
            let name = log_name(&pool).await.context("cannot read the log")?;
            // Before the key is another one: whoever may not write the trail changes nothing.
            let identities = database::connect(&ledger.url, DatabaseRole::Identity, 1).await?;
            let key = rotate(&pool, &file, &name, lost)
                .await
                .context("cannot change the key")?;
            println!("{}", key.verifier_key());
            if lost {
                eprintln!("tell every auditor this key by hand: the old one does not name it");
            }
            let event = SecurityEvent::about_all(Kind::KeyRotated).with("key", "sealing");
            let told = security_events::record(&identities, event).await;
            told.context("the key is another one now, but the security trail could not be told")?;
        }
    }
    Ok(())
}
