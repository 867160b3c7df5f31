//! Where the register of erasures is.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use command_api::erasures::register::Register;

/// The register's file in a data folder.
const REGISTER_FILE: &str = "erasures";

/// The register of erasures.
#[derive(Clone, Debug, Default, Args)]
pub struct ErasureOptions {
    /// A file of this command-api's own, outside the database and its backups, that keeps who was erased: after a restore it is
    /// applied again. `erasures` in the data folder, where there is one.
    #[arg(long, value_name = "FILE", env = "KINLEDGER_ERASURES_FILE")]
    erasures_file: Option<PathBuf>,
}

impl ErasureOptions {
    /// Opens it, or begins one; none when nothing says where.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn register(&self, data_dir: Option<&Path>) -> Result<Option<Register>> {
        let in_folder = || data_dir.map(|folder| folder.join(REGISTER_FILE));
        let Some(path) = self.erasures_file.clone().or_else(in_folder) else {
            tracing::warn!("no register of erasures: a backup from before an erasure would bring back what was erased");
            return Ok(None);
        };
        Ok(Some(Register::open(&path)?))
    }
}
