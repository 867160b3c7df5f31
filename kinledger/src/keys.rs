//! The key-encryption key of this installation, as it is given on the command line, and `kinledger keys`.
//!
//! Members' keys are wrapped under it (ADR 0031). It is, in this order: what `--key-file` or `KINLEDGER_KEY` holds; else a key
//! derived from the installation's secret, which `kinledger up` has in its data folder. Until `kinledger keys rotate` is done,
//! the one before is named too; a key derived from the secret is known wherever the secret is.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use command_api::identity::{
    Secret, rotate_signing_key,
    security_events::{self, Kind, SecurityEvent},
};
use event_store::{
    Log,
    keys::{
        encryption::{KeyEncryptions, LocalKey},
        rotate,
    },
};
use serde_json::json;
use service_kit::{
    database::{self, DatabaseRole},
    private_file,
};

/// The file of the secret in a data folder.
pub const SECRET_FILE: &str = "secret";

/// Which key-encryption key.
#[derive(Clone, Debug, Default, Args)]
pub struct KeyOptions {
    /// A file with 64 hexadecimal digits: the key that members' keys are wrapped under; the same for every part that reads the
    /// log's texts. Without it, one derived from the secret.
    #[arg(long, value_name = "FILE", env = "KINLEDGER_KEY_FILE", global = true)]
    key_file: Option<PathBuf>,
    /// The key itself, instead of its file: 64 hexadecimal digits.
    #[arg(
        long,
        value_name = "KEY",
        env = "KINLEDGER_KEY",
        hide_env_values = true,
        global = true,
        conflicts_with = "key_file"
    )]
    key: Option<String>,
    /// The file of the key before, until `kinledger keys rotate` is done.
    #[arg(long, value_name = "FILE", env = "KINLEDGER_OLD_KEY_FILE", global = true)]
    old_key_file: Option<PathBuf>,
}

impl KeyOptions {
    /// The keys that are known; none when nothing names one.
    ///
    /// # Errors
    /// When a file cannot be read, or holds no key.
    pub fn encryptions(&self, secret: Option<&Secret>) -> Result<Option<KeyEncryptions>> {
        let derived = secret.map(|secret| secret.derive("key-encryption/1"));
        let named = match (&self.key_file, &self.key) {
            (Some(file), _) => Some(read(file)?),
            (None, Some(text)) => Some(parse(text).context("KINLEDGER_KEY")?),
            (None, None) => None,
        };
        let Some(current) = named.or(derived) else {
            return Ok(None);
        };
        let mut encryptions = KeyEncryptions::local(&current);
        let old = self.old_key_file.as_deref().map(read).transpose()?;
        for known in [old, derived].into_iter().flatten() {
            encryptions = encryptions.and_old(Arc::new(LocalKey::new(&known)));
        }
        Ok(Some(encryptions))
    }

    /// As [`KeyOptions::encryptions`], for a part that cannot do without.
    ///
    /// # Errors
    /// When nothing names a key.
    pub fn required(&self, secret: Option<&Secret>) -> Result<KeyEncryptions> {
        self.encryptions(secret)?.context(
            "KINLEDGER_KEY_FILE is not set: the file of the key that members' keys are wrapped under, 64 hexadecimal digits, \
             the same for every part (or KINLEDGER_KEY, or KINLEDGER_SECRET)",
        )
    }
}

fn read(file: &Path) -> Result<[u8; 32]> {
    let text = String::from_utf8(private_file::read(file)?).unwrap_or_default();
    parse(&text).with_context(|| format!("the key file {}", file.display()))
}

/// As secrets are read: 64 hexadecimal digits, and no placeholder.
fn parse(text: &str) -> Result<[u8; 32]> {
    let is_placeholder = Secret::parse(text).is_err();
    let mut key = [0; 32];
    let parsed = hex::decode_to_slice(text.trim(), &mut key);
    anyhow::ensure!(
        parsed.is_ok() && !is_placeholder,
        "is no key: 64 hexadecimal digits, such as `openssl rand -hex 32` makes"
    );
    Ok(key)
}

/// A ledger's database, and the keys to its texts.
pub struct Ledger {
    /// Its address.
    pub url: String,
    /// The installation's secret, when it is named or in the data folder.
    pub secret: Option<Secret>,
    /// None when nothing names a key: then what is sealed stays sealed.
    pub encryptions: Option<KeyEncryptions>,
}

impl Ledger {
    /// The log over a pool, with the keys to its texts. It makes no claims, and so needs no key for those.
    pub fn log(&self, pool: sqlx::PgPool) -> Log {
        log_to_read(pool, self.encryptions.clone())
    }
}

/// A log for who never appends to it.
pub fn log_to_read(pool: sqlx::PgPool, encryptions: Option<KeyEncryptions>) -> Log {
    let log = Log::new(pool, [0; 32]);
    match encryptions {
        Some(encryptions) => log.encrypting_with(encryptions),
        None => log,
    }
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Wrap every member's key under the current key-encryption key; the one before is needed no more after that.
    ///
    /// Name both keys to every running part first (--key-file and --old-key-file), then run this, then take the old one away.
    /// It may be broken off and run again at any time, while families are being served.
    Rotate {
        /// Print the outcome as a line of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make the next signing key of access tokens now instead of at the end of its month. Nobody is signed out.
    RotateSigning,
}

/// Runs it. Exit codes: 0 done, 1 it could not be done.
///
/// # Errors
/// When the database cannot be used, or a key is not known.
pub async fn run(command: KeysCommand, ledger: &Ledger) -> Result<ExitCode> {
    match command {
        KeysCommand::Rotate { json } => rotate_key_encryption(ledger, json).await,
        KeysCommand::RotateSigning => rotate_signing(ledger).await,
    }
}

async fn rotate_signing(ledger: &Ledger) -> Result<ExitCode> {
    let secret = ledger
        .secret
        .as_ref()
        .context("name the installation's secret: KINLEDGER_SECRET, or its data folder")?;
    let pool = database::connect(&ledger.url, DatabaseRole::Identity, 2).await?;
    let next = rotate_signing_key(pool, secret).await?;
    println!(
        "key {} signs from {}",
        next.kid,
        next.signs_from.format("%Y-%m-%d %H:%M:%S UTC")
    );
    println!("the key before it verifies on until its last token has expired");
    Ok(ExitCode::SUCCESS)
}

async fn rotate_key_encryption(ledger: &Ledger, json: bool) -> Result<ExitCode> {
    let encryptions = ledger
        .encryptions
        .as_ref()
        .context("name the key-encryption key: --key-file")?;
    let pool = database::connect(&ledger.url, DatabaseRole::Writer, 2).await?;
    let said = std::cell::Cell::new(0);
    let rotated = rotate::rotate(&pool, encryptions, |done| {
        if !json && done / 10_000 > said.get() {
            said.set(done / 10_000);
            eprintln!("{done} keys wrapped anew");
        }
    })
    .await
    .context("not every key is wrapped under the current key yet: run it again")?;
    if rotated.rewrapped > 0 {
        let event = SecurityEvent::about_all(Kind::KeyRotated).with("key", "key-encryption");
        let identities = database::connect(&ledger.url, DatabaseRole::Identity, 1).await?;
        let told = security_events::record(&identities, event).await;
        told.context("the keys are wrapped anew, but the security trail could not be told")?;
    }
    pool.close().await;
    if json {
        println!("{}", json!({"rewrapped": rotated.rewrapped}));
    } else {
        println!(
            "{} keys wrapped anew; the old key-encryption key is needed no more",
            rotated.rewrapped
        );
    }
    Ok(ExitCode::SUCCESS)
}
