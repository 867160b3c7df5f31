//! The embedded default: a private Postgres cluster that this process initialises, starts, stops and recovers in its data folder.
//!
//! - One process per data folder: a file lock, released by the kernel however the process ends.
//! - The cluster listens on a Unix socket only, with a random password in the data folder.
//! - Postgres refuses to run as root; started by root, it runs as an unprivileged user. Where that user cannot reach the data
//!   folder (a clone in root's home), the cluster lives under `/var/lib/kinledger` and the data folder holds a link to it.
//! - A server that ends by itself (out of memory, say) is started again; commands are refused with 503 meanwhile.
//! - After kill -9 of this process a server may still run; the next start stops it in order and starts anew.

mod binaries;
mod server;
mod user;

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use rand::RngCore;
use serde::{Deserialize, Serialize};
use service_kit::private_file;

pub use server::Server;

/// A data folder, locked for this process.
pub struct DataFolder {
    path: PathBuf,
    // Held for its lock.
    _lock: File,
}

/// What a running process leaves for the command line to find it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Running {
    /// Where its HTTP listens.
    pub address: String,
    /// Its database, password included; the file is for the owner only.
    pub database_url: String,
}

impl DataFolder {
    /// Creates the folder when it is missing, and locks it.
    ///
    /// # Errors
    /// When another process has it, or it cannot be written.
    pub fn open(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("cannot create the data folder {}", path.display()))?;
        let path = path
            .canonicalize()
            .with_context(|| format!("cannot use the data folder {}", path.display()))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .with_context(|| format!("cannot write to the data folder {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => bail!(
                "another kinledger is already running on the data folder {}: stop it first, or name another folder with --data-dir",
                path.display()
            ),
            Err(fs::TryLockError::Error(error)) => return Err(error).context("cannot lock the data folder"),
        }
        Ok(Self { path, _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A secret of 32 random bytes, made on first use and kept for the owner only.
    ///
    /// # Errors
    /// When it cannot be read or written, is damaged, or others may read it.
    pub fn secret(&self, name: &str) -> Result<[u8; 32]> {
        let path = self.path.join(name);
        if path.exists() {
            let text = private_file::read(&path)?;
            let bytes = hex::decode(text.trim_ascii())
                .ok()
                .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            return bytes.with_context(|| format!("{} is damaged: restore it from a backup", path.display()));
        }
        let mut bytes = [0; 32];
        rand::rng().fill_bytes(&mut bytes);
        write_private(&path, hex::encode(bytes).as_bytes())?;
        Ok(bytes)
    }

    /// Tells the command line where this process is.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn announce(&self, running: &Running) -> Result<()> {
        write_private(&self.path.join("running.json"), &serde_json::to_vec_pretty(running)?)
    }

    /// Takes the announcement back.
    pub fn withdraw(&self) {
        drop(fs::remove_file(self.path.join("running.json")));
    }
}

/// The process that runs on a data folder, if any.
pub fn running(data_dir: &Path) -> Option<Running> {
    let lock = OpenOptions::new().write(true).open(data_dir.join("lock")).ok()?;
    match lock.try_lock() {
        // Nobody holds it: what the file says is of a process that is gone.
        Ok(()) => None,
        Err(_) => serde_json::from_slice(&fs::read(data_dir.join("running.json")).ok()?).ok(),
    }
}

/// The database of a data folder: that of the process running on it, or a server started for as long as the guard lives.
///
/// # Errors
/// When there is no ledger in the folder, or its server cannot be started.
pub async fn attach_or_start(data_dir: &Path) -> Result<(String, Option<(Server, DataFolder)>)> {
    if let Some(running) = running(data_dir) {
        return Ok((running.database_url, None));
    }
    if !data_dir.join("postgres").exists() {
        bail!(
            "there is no ledger in {}: name its folder with --data-dir, or a database with --database-url",
            data_dir.display()
        );
    }
    let folder = DataFolder::open(data_dir)?;
    let server = Server::start(&folder).await?;
    Ok((server.url().to_owned(), Some((server, folder))))
}

/// Writes a file that only its owner may read; it appears whole or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let partial = path.with_extension("partial");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o600))?;
    fs::rename(&partial, path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}
