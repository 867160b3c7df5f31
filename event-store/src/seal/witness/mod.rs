//! Places outside the database that checkpoints are given to, by address:
//!
//! - `file:///folder`: files, written beside their name, synced and linked to it, never over an existing one;
//! - `http://…`, `https://…`: PUT with `If-None-Match: *`, and a bearer token when there is one;
//! - `s3://bucket/prefix?endpoint=https://…&region=…`: an object store, with the usual `AWS_…` credentials.
//!
//! Under the address: `lane-N/SIZE.leaves` (the hashes of the leaves that the checkpoint added), then `lane-N/SIZE.note`
//! (the checkpoint), and `lane-N/checkpoint`, the latest of them, the only file that is ever replaced. Twenty digits of size
//! make names sort. The strength of all this is that the place is not ours to change: another disk, another account.

mod export;
mod file;
mod http;
mod s3;

use std::{sync::Arc, time::Duration};

pub(super) use export::{Given, export, export_new};

use super::{Hash, keys, note};
use crate::{Lane, LogError};

/// How long a place may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

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
    /// Its latest checkpoint does not fit the log.
    #[error("the place holds {0}")]
    Fork(String),
    /// Its latest checkpoint is none that a key of this log has signed. It may be another log's, or the last word of one that
    /// this database has forgotten: in either case it is not ours to replace.
    #[error(
        "{0} there is no checkpoint of this log, or signed by a key that this database does not know; it is not replaced"
    )]
    Foreign(String),
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

/// What a place holds of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Nothing.
    Nothing,
    /// Something that is no checkpoint of this log, or signed by none of its keys. Otherwise whoever can write there could halt
    /// the sealing.
    Foreign,
    /// The latest checkpoint.
    Checkpoint {
        /// Events under it.
        size: u64,
        /// Its root.
        root: Hash,
    },
}

/// A place. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Witness {
    /// The address without anything secret: what is remembered in the database and shown in metrics. No two places have the same.
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
        Ok(Self {
            name: public_name(address),
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
        Ok(Self {
            name: public_name(address),
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

    async fn get(&self, name: String) -> Result<Option<Vec<u8>>, WitnessError> {
        self.blocking(move |place| match place {
            Place::File(folder) => folder.get(&name),
            Place::Http(server) => server.get(&name),
            Place::S3(store) => store.get(&name),
        })
        .await
    }

    /// The latest checkpoint it holds of a lane.
    ///
    /// # Errors
    /// When it does not answer: then it is not known what it holds.
    pub(super) async fn held(&self, lane: Lane, origin: &str, verifier_keys: &[String]) -> Result<Held, WitnessError> {
        let Some(bytes) = self.get(latest(lane)).await? else {
            return Ok(Held::Nothing);
        };
        let text = String::from_utf8(bytes).unwrap_or_default();
        let is_ours = verifier_keys.iter().any(|key| keys::is_signed(&text, key));
        match note::claims(&text, origin).filter(|_| is_ours) {
            Some((size, root)) => Ok(Held::Checkpoint { size, root }),
            None => {
                tracing::warn!(
                    destination = self.name,
                    lane = lane.0,
                    "what is kept there is no checkpoint of this log"
                );
                Ok(Held::Foreign)
            }
        }
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

/// The one file of a lane that is replaced.
fn latest(lane: Lane) -> String {
    format!("lane-{lane}/checkpoint")
}

/// An address without what may be secret. Two buckets of one name at two endpoints are two places.
fn public_name(address: &str) -> String {
    // What stands before an @ in an address may be a password.
    let without_user = |url: &str| match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            format!(
                "{scheme}://{}{path}",
                host.rsplit_once('@').map_or(host, |(_, host)| host)
            )
        }
        None => url.to_owned(),
    };
    let (place, query) = address.split_once('?').unwrap_or((address, ""));
    let endpoint = query.split('&').find_map(|pair| pair.strip_prefix("endpoint="));
    match endpoint {
        Some(endpoint) if place.starts_with("s3://") => {
            format!("{}?endpoint={}", without_user(place), without_user(endpoint))
        }
        _ => without_user(place),
    }
}
