//! Places outside the database that checkpoints are given to, by address:
//!
//! - `file:///folder`: files, written beside their name, synced and linked to it, never over an existing one;
//! - `http://…`, `https://…`: PUT with `If-None-Match: *`, and a bearer token when there is one;
//! - `s3://bucket/prefix?endpoint=https://…&region=…`: an object store, with the usual `AWS_…` credentials.
//!
//! Under the address: `lane-N/SIZE.leaves` (the hashes of the leaves that the checkpoint added), then `lane-N/SIZE.note`
//! (the checkpoint), and `lane-N/checkpoint`, the latest of them, the only file that is ever replaced. Twenty digits of size
//! make names sort. The strength of all this is that the place is not ours to change: another disk, another account.

mod file;
mod http;
mod s3;

use std::{sync::Arc, time::Duration};

use sqlx::PgPool;
use tokio::sync::watch;

use super::{SealStatus, keys, note, tree};
use crate::{Lane, LogError};

/// Checkpoints handed over between two looks at whether to stop.
const PAGE: i64 = 64;
/// How long a place may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// How often a place is given what is new.
const INTERVAL: Duration = Duration::from_secs(1);
/// The longest pause after a failure.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Why a place did not take a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The address is none.
    #[error("{0} is no place for checkpoints: file:///folder, https://… or s3://bucket/prefix")]
    Address(String),
    /// The object store's credentials are missing.
    #[error("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set")]
    Credentials,
    /// It cannot be written or read.
    #[error("cannot use the files")]
    File(#[source] std::io::Error),
    /// It cannot be reached.
    #[error("the place does not answer")]
    Http(#[source] Box<ureq::Error>),
    /// It refuses.
    #[error("the place answered {0}")]
    Refused(u16),
    /// It holds something else under the same name.
    #[error("the place holds another {0}")]
    Other(String),
    /// The checkpoints cannot be read.
    #[error("cannot read the checkpoints")]
    Log(#[source] LogError),
}

impl From<sqlx::Error> for WitnessError {
    fn from(error: sqlx::Error) -> Self {
        Self::Log(error.into())
    }
}

impl From<LogError> for WitnessError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

/// A place. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Witness {
    /// The address without anything secret: what is remembered in the database and shown in metrics.
    name: String,
    place: Arc<Place>,
}

#[derive(Debug)]
enum Place {
    File(file::Folder),
    Http(http::Server),
    S3(s3::Store),
}

impl Witness {
    /// Reads an address. `bearer` is sent to places that speak HTTP.
    ///
    /// # Errors
    /// [`WitnessError::Address`] or [`WitnessError::Credentials`].
    pub fn parse(address: &str, bearer: Option<&str>) -> Result<Self, WitnessError> {
        let place = if let Some(path) = address.strip_prefix("file://") {
            Place::File(file::Folder::new(path))
        } else if address.starts_with("http://") || address.starts_with("https://") {
            Place::Http(http::Server::new(address, bearer))
        } else if address.starts_with("s3://") {
            Place::S3(s3::Store::parse(address)?)
        } else {
            return Err(WitnessError::Address(address.to_owned()));
        };
        let name = match address.split_once('?') {
            Some((name, _)) => name,
            None => address,
        };
        // What stands before an @ in an address may be a password.
        let name = match name.split_once("://") {
            Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, rest)| rest)),
            None => name.to_owned(),
        };
        Ok(Self {
            name,
            place: Arc::new(place),
        })
    }

    /// An object store with credentials of its own, not those of the environment.
    ///
    /// # Errors
    /// [`WitnessError::Address`].
    pub fn s3(address: &str, access_key: &str, secret_key: &str) -> Result<Self, WitnessError> {
        let credentials = rusty_s3::Credentials::new(access_key, secret_key);
        let place = Place::S3(s3::Store::with(address, credentials)?);
        let name = address.split_once('?').map_or(address, |(name, _)| name);
        Ok(Self {
            name: name.to_owned(),
            place: Arc::new(place),
        })
    }

    /// The address without anything secret.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Puts a file there; an existing one of that name must have the same content.
    async fn keep(&self, name: String, bytes: Vec<u8>) -> Result<(), WitnessError> {
        self.blocking(move |place| match place {
            Place::File(folder) => folder.keep(&name, &bytes),
            Place::Http(server) => server.keep(&name, &bytes),
            Place::S3(store) => store.keep(&name, &bytes),
        })
        .await
    }

    /// Puts a file there in the place of the one before.
    async fn replace(&self, name: String, bytes: Vec<u8>) -> Result<(), WitnessError> {
        self.blocking(move |place| match place {
            Place::File(folder) => folder.replace(&name, &bytes),
            Place::Http(server) => server.replace(&name, &bytes),
            Place::S3(store) => store.replace(&name, &bytes),
        })
        .await
    }

    /// The latest checkpoint it holds of a lane.
    pub(super) async fn latest(&self, lane: Lane) -> Result<Option<String>, WitnessError> {
        let name = format!("lane-{lane}/checkpoint");
        let found = self
            .blocking(move |place| match place {
                Place::File(folder) => folder.get(&name),
                Place::Http(server) => server.get(&name),
                Place::S3(store) => store.get(&name),
            })
            .await?;
        Ok(found.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Place) -> Result<T, WitnessError> + Send + 'static,
    ) -> Result<T, WitnessError> {
        let place = Arc::clone(&self.place);
        let joined = tokio::task::spawn_blocking(move || act(&place)).await;
        joined.unwrap_or_else(|error| Err(WitnessError::File(std::io::Error::other(error))))
    }
}

/// Gives a place every checkpoint it does not have, until told to stop; and once more then.
pub(super) async fn export(pool: PgPool, witness: Witness, status: SealStatus, mut shutdown: watch::Receiver<bool>) {
    let mut pause = INTERVAL;
    loop {
        let is_stopping = *shutdown.borrow();
        match export_new(&pool, &witness, &status).await {
            Ok(()) => pause = INTERVAL,
            Err(error) => {
                pause = (pause * 2).min(PAUSE_MAX);
                metrics::counter!("kinledger_sealer_export_failures_total", "destination" => witness.name.clone())
                    .increment(1);
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(destination = witness.name, %error, cause, "checkpoints could not be exported; trying again");
            }
        }
        if is_stopping {
            return;
        }
        // A sender that is gone will never say so: that too is the end.
        drop(tokio::time::timeout(pause, shutdown.wait_for(|is_stopping| *is_stopping)).await);
    }
}

/// Gives a place what is new, of every lane, in order.
///
/// # Errors
/// [`WitnessError`], when a lane could not be finished; others may have been.
pub(super) async fn export_new(pool: &PgPool, witness: &Witness, status: &SealStatus) -> Result<(), WitnessError> {
    let lanes: Vec<i16> = sqlx::query_scalar("select lane from log.lanes order by lane")
        .fetch_all(pool)
        .await?;
    let mut first_error = None;
    for lane in lanes.into_iter().map(Lane) {
        match export_lane(pool, witness, lane).await {
            Ok(()) => {}
            Err(WitnessError::Other(name)) => {
                status.forked(lane, format!("{} holds another {name}", witness.name));
                first_error.get_or_insert(WitnessError::Other(name));
            }
            Err(error) => return Err(error),
        }
    }
    first_error.map_or(Ok(()), Err)
}

async fn export_lane(pool: &PgPool, witness: &Witness, lane: Lane) -> Result<(), WitnessError> {
    loop {
        let statement =
            "select coalesce(max(size), 0) from log.checkpoint_exports where destination = $1 and lane = $2";
        let exported: i64 = sqlx::query_scalar(statement)
            .bind(&witness.name)
            .bind(lane.0)
            .fetch_one(pool)
            .await?;
        let statement =
            "select size, note from log.signed_checkpoints where lane = $1 and size > $2 order by size limit $3";
        let page: Vec<(i64, String)> = sqlx::query_as(statement)
            .bind(lane.0)
            .bind(exported)
            .bind(PAGE)
            .fetch_all(pool)
            .await?;
        let Some((last, latest)) = page.last().cloned() else {
            return Ok(());
        };
        let mut after = exported;
        for (size, note) in page {
            let leaves = tree::leaves(pool, lane, after.unsigned_abs(), size.unsigned_abs()).await?;
            witness.keep(format!("lane-{lane}/{size:020}.leaves"), leaves).await?;
            witness
                .keep(format!("lane-{lane}/{size:020}.note"), note.into_bytes())
                .await?;
            after = size;
        }
        witness
            .replace(format!("lane-{lane}/checkpoint"), latest.into_bytes())
            .await?;
        let statement = "insert into log.checkpoint_exports (destination, lane, size) values ($1, $2, $3) \
             on conflict (destination, lane) do update set \
             size = greatest(log.checkpoint_exports.size, excluded.size), exported_at = clock_timestamp()";
        sqlx::query(statement)
            .bind(&witness.name)
            .bind(lane.0)
            .bind(last)
            .execute(pool)
            .await?;
        #[allow(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("kinledger_sealer_exported_position", "lane" => lane.to_string(), "destination" => witness.name.clone())
            .set(last as f64);
    }
}

/// The latest checkpoint of this log that a place holds of a lane: its size and root. What is not signed by one of the log's
/// keys is not ours, and is only warned of: otherwise whoever can write there could halt the sealing.
pub(super) async fn known(
    witness: &Witness,
    lane: Lane,
    origin: &str,
    verifier_keys: &[String],
) -> Option<(u64, super::Hash)> {
    let held = match witness.latest(lane).await {
        Ok(held) => held?,
        Err(error) => {
            tracing::warn!(destination = witness.name, lane = lane.0, %error, "cannot ask for the latest checkpoint");
            return None;
        }
    };
    let is_ours = verifier_keys.iter().any(|key| keys::is_signed(&held, key));
    let claims = note::claims(&held, origin).filter(|_| is_ours);
    if claims.is_none() {
        tracing::warn!(
            destination = witness.name,
            lane = lane.0,
            "what is kept there is no checkpoint of this log"
        );
    }
    claims
}
