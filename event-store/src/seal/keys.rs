//! The key that signs checkpoints: Ed25519, in a file of its own, never in the database, never in a log line.
//!
//! The file holds one line in the form of Go's `note` package, `PRIVATE+KEY+name+hash+seed`. Its name is the log's. The
//! database keeps the public keys in their order. A key is succeeded by another through a *transition*, a note that names the
//! new key and is signed by the old one and the new one: who holds only the old public key can follow. The old private key
//! is of no further use and is gone with the file.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    rand::{SecureRandom, SystemRandom},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgExecutor, PgPool};

use crate::LogError;

/// The signature type of Ed25519 in notes.
const TYPE: u8 = 0x01;

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("cannot keep the sealing key in {path}")]
    File {
        /// Which file.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file holds no key.
    #[error("{path} holds no sealing key: restore it from a backup")]
    Damaged {
        /// Which file.
        path: String,
    },
    /// The key belongs to another log.
    #[error("the sealing key is that of {found}, this log is {wanted}")]
    OtherLog {
        /// The key's.
        found: String,
        /// This one.
        wanted: String,
    },
    /// The log has been sealed with other keys.
    #[error(
        "the sealing key {0} is none of this log's: put the right file back, or declare it lost with `kinledger audit key rotate --lost`"
    )]
    Unknown(String),
    /// There is no randomness.
    #[error("cannot make a key")]
    Make,
    /// The key does not sign.
    #[error("cannot sign")]
    Sign,
    /// The public keys cannot be read or written.
    #[error("cannot keep the public keys")]
    Log(#[source] LogError),
}

impl From<sqlx::Error> for KeyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Log(error.into())
    }
}

/// A key that signs.
pub struct SealingKey {
    log: String,
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl std::fmt::Debug for SealingKey {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealingKey")
            .field("verifier_key", &self.verifier_key())
            .finish_non_exhaustive()
    }
}

impl SealingKey {
    /// A key for a log from its seed.
    ///
    /// # Errors
    /// [`KeyError::Make`].
    pub fn from_seed(log: &str, seed: [u8; 32]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError::Make)?;
        Ok(Self {
            log: log.to_owned(),
            seed,
            pair,
        })
    }

    fn make(log: &str) -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| KeyError::Make)?;
        Self::from_seed(log, seed)
    }

    /// The key in this file; made, readable to its owner only, when there is none.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn read_or_create(path: &Path, log: &str) -> Result<Self, KeyError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path, log, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = Self::make(log)?;
                match key.write_new(path) {
                    // Another process was quicker: its key is the one.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::read_or_create(path, log),
                    Err(source) => Err(failed(path)(source)),
                    Ok(()) => Ok(key),
                }
            }
            Err(source) => Err(failed(path)(source)),
        }
    }

    fn parse(path: &Path, log: &str, text: &str) -> Result<Self, KeyError> {
        let damaged = || KeyError::Damaged {
            path: path.display().to_string(),
        };
        let rest = text.trim().strip_prefix("PRIVATE+KEY+").ok_or_else(damaged)?;
        let mut parts = rest.splitn(3, '+');
        let (Some(name), Some(_), Some(seed)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(damaged());
        };
        let bytes = STANDARD.decode(seed).map_err(|_| damaged())?;
        let seed = match bytes.split_first() {
            Some((&TYPE, seed)) => seed.try_into().map_err(|_| damaged())?,
            _ => return Err(damaged()),
        };
        let key = Self::from_seed(name, seed)?;
        if key.private_line() != text.trim() {
            return Err(damaged());
        }
        if name != log {
            return Err(KeyError::OtherLog {
                found: name.to_owned(),
                wanted: log.to_owned(),
            });
        }
        Ok(key)
    }

    /// Whole or not at all; an existing file stays.
    fn write_new(&self, path: &Path) -> io::Result<()> {
        let draft = self.draft(path)?;
        let linked = fs::hard_link(&draft, path);
        fs::remove_file(&draft)?;
        linked
    }

    /// The key on disk, beside the place it is meant for.
    fn draft(&self, path: &Path) -> io::Result<PathBuf> {
        let draft = path.with_extension(format!("draft-{}", uuid::Uuid::new_v4().simple()));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        let written = file
            .write_all(format!("{}\n", self.private_line()).as_bytes())
            .and_then(|()| file.sync_all());
        match written {
            Ok(()) => Ok(draft),
            Err(error) => {
                drop(fs::remove_file(&draft));
                Err(error)
            }
        }
    }

    fn private_line(&self) -> String {
        let seed = [&[TYPE], self.seed.as_slice()].concat();
        format!(
            "PRIVATE+KEY+{}+{}+{}",
            self.log,
            hex::encode(self.id()),
            STANDARD.encode(seed)
        )
    }

    /// The log it signs for: the key's name.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// The public key, as verifiers take it: `name+hash+key`.
    pub fn verifier_key(&self) -> String {
        format!(
            "{}+{}+{}",
            self.log,
            hex::encode(self.id()),
            STANDARD.encode(self.typed_public())
        )
    }

    fn typed_public(&self) -> Vec<u8> {
        [&[TYPE], self.pair.public_key().as_ref()].concat()
    }

    fn id(&self) -> [u8; 4] {
        key_id(&self.log, &self.typed_public())
    }

    /// A note with this text, which ends with a line feed, and this key's signature.
    ///
    /// # Errors
    /// [`KeyError::Sign`].
    pub fn sign(&self, text: &str) -> Result<String, KeyError> {
        Ok(format!("{text}\n{}", self.signature(text)))
    }

    /// A line that signs this text.
    pub(super) fn signature(&self, text: &str) -> String {
        let signature = self.pair.sign(text.as_bytes());
        let blob = [self.id().as_slice(), signature.as_ref()].concat();
        format!("— {} {}\n", self.log, STANDARD.encode(blob))
    }
}

fn key_id(name: &str, typed_key: &[u8]) -> [u8; 4] {
    let mut hash = Sha256::new();
    hash.update(name);
    hash.update(b"\n");
    hash.update(typed_key);
    let hash: [u8; 32] = hash.finalize().into();
    [hash[0], hash[1], hash[2], hash[3]]
}

fn failed(path: &Path) -> impl Fn(io::Error) -> KeyError + '_ {
    |source| KeyError::File {
        path: path.display().to_string(),
        source,
    }
}

/// Is the note signed by the key? Used to tell this log's own checkpoints from what somebody else put in their place.
pub(super) fn is_signed(note: &str, verifier_key: &str) -> bool {
    let Some((text, signatures)) = note.rsplit_once("\n\n") else {
        return false;
    };
    let text = &note[..=text.len()];
    let mut parts = verifier_key.splitn(3, '+');
    let (Some(name), Some(_), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let Ok(typed) = STANDARD.decode(key) else { return false };
    let id = key_id(name, &typed);
    signatures.lines().any(|line| {
        let blob = line
            .strip_prefix("— ")
            .and_then(|rest| rest.strip_prefix(name)?.strip_prefix(' '));
        let blob = blob.and_then(|blob| STANDARD.decode(blob).ok()).unwrap_or_default();
        blob.strip_prefix(id.as_slice()).is_some_and(|signature| {
            let public = UnparsedPublicKey::new(&ED25519, &typed[1..]);
            public.verify(text.as_bytes(), signature).is_ok()
        })
    })
}

/// A public key of the log.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct KnownKey {
    /// Its place in the order, from 1.
    pub number: i32,
    /// The key, as verifiers take it.
    pub verifier_key: String,
    /// The note by which its predecessor names it; none for the first, and after a loss.
    pub transition: Option<String>,
}

/// The log's public keys, the newest last.
///
/// # Errors
/// [`LogError::Database`].
pub async fn known_keys(pool: &PgPool) -> Result<Vec<KnownKey>, LogError> {
    let statement = "select number, verifier_key, transition from log.sealing_keys order by number";
    Ok(sqlx::query_as(statement).fetch_all(pool).await?)
}

/// The same, without their history.
pub(super) async fn verifier_keys(executor: impl PgExecutor<'_>) -> Result<Vec<String>, LogError> {
    let statement = "select verifier_key from log.sealing_keys order by number";
    Ok(sqlx::query_scalar(statement).fetch_all(executor).await?)
}

/// Makes sure that the database knows the key; the first key of a log is made known here.
pub(super) async fn register(connection: &mut PgConnection, key: &SealingKey) -> Result<(), KeyError> {
    let statement = "insert into log.sealing_keys (number, verifier_key) select 1, $1 \
         where not exists (select from log.sealing_keys) on conflict do nothing";
    sqlx::query(statement)
        .bind(key.verifier_key())
        .execute(&mut *connection)
        .await?;
    let is_known: bool = sqlx::query_scalar("select exists (select from log.sealing_keys where verifier_key = $1)")
        .bind(key.verifier_key())
        .fetch_one(connection)
        .await?;
    if is_known {
        Ok(())
    } else {
        Err(KeyError::Unknown(key.verifier_key()))
    }
}

/// Makes a new key, lets the old one name it, and puts it into the file. With `is_lost`, whatever is in the file is not asked:
/// verifiers have to be told the new key by hand. The new key is on disk before the database hears of it; a crash before it is
/// in its place leaves the old key in force, and the new one known but unused ([`signing_key`] tells which one signs).
///
/// # Errors
/// [`KeyError`].
pub async fn rotate(pool: &PgPool, path: &Path, log: &str, is_lost: bool) -> Result<SealingKey, KeyError> {
    let new = SealingKey::make(log)?;
    let transition = if is_lost {
        None
    } else {
        let text = fs::read_to_string(path).map_err(failed(path))?;
        let old = SealingKey::parse(path, log, &text)?;
        register(&mut *pool.acquire().await?, &old).await?;
        let text = format!("kinledger key transition v1\n{log}\n{}\n", new.verifier_key());
        Some(format!("{}{}", old.sign(&text)?, new.signature(&text)))
    };
    let draft = new.draft(path).map_err(failed(path))?;
    let statement = "insert into log.sealing_keys (number, verifier_key, transition) \
         select coalesce(max(number), 0) + 1, $1, $2 from log.sealing_keys";
    let made_known = sqlx::query(statement)
        .bind(new.verifier_key())
        .bind(transition)
        .execute(pool)
        .await;
    let placed = match made_known {
        Ok(_) => fs::rename(&draft, path).map_err(failed(path)),
        Err(error) => Err(error.into()),
    };
    if placed.is_err() {
        drop(fs::remove_file(&draft));
    }
    placed.map(|()| new)
}

/// The key that signs: the one in the file, when the file can be read and the log knows it; else the newest that has signed a
/// lane's last checkpoint. A rotation that broke off leaves a newer key that never will.
///
/// # Errors
/// [`LogError::Database`].
pub async fn signing_key(pool: &PgPool, file: Option<&Path>) -> Result<Option<String>, LogError> {
    let mut keys = verifier_keys(pool).await?;
    let log = super::log_name(pool).await?;
    let in_file = file.and_then(|file| {
        let text = fs::read_to_string(file).ok()?;
        Some(SealingKey::parse(file, &log, &text).ok()?.verifier_key())
    });
    if let Some(key) = in_file.filter(|key| keys.contains(key)) {
        return Ok(Some(key));
    }
    let statement = "select c.note from log.lanes l cross join lateral ( \
             select s.note from log.signed_checkpoints s where s.lane = l.lane order by s.size desc limit 1 \
         ) c";
    let notes: Vec<String> = sqlx::query_scalar(statement).fetch_all(pool).await?;
    let newest_that_signed = keys
        .iter()
        .rev()
        .find(|key| notes.iter().any(|note| is_signed(note, key)));
    Ok(newest_that_signed.cloned().or_else(|| keys.pop()))
}
