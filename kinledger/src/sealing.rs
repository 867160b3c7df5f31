//! The sealer, put together the same way in one process and apart.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Args;
use event_store::seal::{self, SealSettings, SealStatus, witness::Witness};
use service_kit::{
    database::{self, DatabaseRole},
    health::Health,
    private_file,
    shutdown::Shutdown,
};
use tokio::task::JoinHandle;

/// The key's file in a data folder.
pub const KEY_FILE: &str = "sealing-key";
/// Connections of the sealer: the one it seals through, one per place, and some to look things up.
const CONNECTIONS: u32 = 8;

/// How to seal.
#[derive(Clone, Debug, Default, Args)]
pub struct SealOptions {
    /// Where signed checkpoints are given to: file:///folder, https://… or s3://bucket/prefix?endpoint=…; several with commas.
    #[arg(long, value_name = "URL", value_delimiter = ',', env = "KINLEDGER_CHECKPOINTS_TO")]
    checkpoints_to: Vec<String>,
    /// Sent as a bearer token to places that speak HTTP.
    #[arg(long, env = "KINLEDGER_CHECKPOINTS_TOKEN", hide_env_values = true)]
    checkpoints_token: Option<String>,
    /// The file of the signing key; made when it is missing. In one process it is in the data folder.
    #[arg(long, value_name = "FILE", env = "KINLEDGER_SEALING_KEY_FILE")]
    sealing_key_file: Option<PathBuf>,
    /// Seconds between two checkpoints of a lane, at least.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, env = "KINLEDGER_SEAL_EVERY", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seal_every: u64,
}

impl SealOptions {
    /// The settings; in a data folder the key and the first place for checkpoints are there unless told otherwise. A key that is there
    /// already has to be for its owner alone: who else may read it can sign a history of their own.
    ///
    /// # Errors
    /// When there is no file for the key, others may read it, or an address is none.
    pub fn settings(&self, data_dir: Option<&Path>) -> Result<SealSettings> {
        let key_file = match (&self.sealing_key_file, data_dir) {
            (Some(file), _) => file.clone(),
            (None, Some(folder)) => folder.join(KEY_FILE),
            (None, None) => anyhow::bail!("KINLEDGER_SEALING_KEY_FILE is not set: the file of the signing key"),
        };
        if key_file.exists() {
            private_file::check(&key_file)?;
        }
        let mut addresses = self.checkpoints_to.clone();
        if let (true, Some(folder)) = (addresses.is_empty(), data_dir) {
            addresses.push(format!("file://{}", folder.join("checkpoints").display()));
        }
        let witnesses = addresses
            .iter()
            .map(|address| Witness::parse(address, self.checkpoints_token.as_deref()))
            .collect::<Result<Vec<_>, _>>()
            .context("cannot give checkpoints away")?;
        Ok(SealSettings {
            key_file,
            every: Duration::from_secs(self.seal_every.max(1)),
            witnesses,
        })
    }
}

/// Starts sealing; whatever keeps it from sealing shows in readiness.
///
/// # Errors
/// When the database does not answer.
pub async fn start(
    url: &str,
    settings: SealSettings,
    health: &Health,
    shutdown: Shutdown,
) -> Result<JoinHandle<Result<()>>> {
    let pool = database::connect(url, DatabaseRole::Sealer, CONNECTIONS).await?;
    let status = SealStatus::default();
    let watched = status.clone();
    health.add("sealer", move || watched.check());
    if settings.witnesses.is_empty() {
        tracing::warn!("checkpoints are kept in the database only: whoever owns it can sign a history of their own");
    }
    Ok(tokio::spawn(async move {
        let sealing = tokio::spawn(seal::run(pool, settings, status.clone(), shutdown));
        // It ends when it is told to, or by a fault of ours.
        let ended = sealing.await;
        if ended.is_err() {
            status.stopped("the sealer has failed; its log says why");
        }
        ended.context("the sealer failed")
    }))
}
