//! Which user the cluster runs as, and where that user can reach it.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// Where clusters live whose data folder the unprivileged user cannot reach.
pub const SHARED_HOME: &str = "/var/lib/kinledger";

/// An unprivileged user; none when we are no root and simply stay who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunAs {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// The user to step down to.
pub fn run_as() -> Option<RunAs> {
    let is_root = fs::metadata("/proc/self")
        .map(|me| me.uid() == 0)
        .unwrap_or_else(|_| id("-u", None) == Some(0));
    if !is_root {
        return None;
    }
    if id("-u", Some("kinledger")).is_none() {
        let made = Command::new("useradd")
            .args([
                "--system",
                "--no-create-home",
                "--shell",
                "/usr/sbin/nologin",
                "--user-group",
                "kinledger",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        drop(made);
    }
    ["kinledger", "postgres", "nobody"].into_iter().find_map(|name| {
        Some(RunAs {
            uid: id("-u", Some(name))?,
            gid: id("-g", Some(name))?,
        })
    })
}

fn id(flag: &str, name: Option<&str>) -> Option<u32> {
    let output = Command::new("id")
        .arg(flag)
        .args(name)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// The cluster's own home, reachable and owned by whoever it runs as: `<data>/postgres`, or a folder it links to.
pub fn cluster_home(data: &Path, run_as: Option<RunAs>) -> Result<PathBuf> {
    let home = data.join("postgres");
    if let Ok(found) = fs::symlink_metadata(&home) {
        let real = if found.is_symlink() {
            fs::read_link(&home)?
        } else {
            home
        };
        if let Some(user) = run_as.filter(|user| real.parent().is_some_and(|parent| !is_reachable(parent, *user))) {
            bail!(
                "{} lies where the user Postgres runs as (uid {}) cannot reach it: move the data folder, or open its parents to that user",
                real.display(),
                user.uid
            );
        }
        own(&real, run_as)?;
        return Ok(real);
    }
    let real = match run_as {
        Some(user) if !is_reachable(data, user) => {
            let name = hex::encode(&Sha256::digest(data.as_os_str().as_encoded_bytes())[..8]);
            let real = Path::new(SHARED_HOME).join(name);
            fs::create_dir_all(&real).with_context(|| format!("cannot create {}", real.display()))?;
            symlink(&real, &home)?;
            real
        }
        _ => {
            fs::create_dir(&home)?;
            home
        }
    };
    own(&real, run_as)?;
    Ok(real)
}

fn own(path: &Path, run_as: Option<RunAs>) -> Result<()> {
    fs::create_dir_all(path)?;
    if let Some(user) = run_as {
        chown(path, Some(user.uid), Some(user.gid)).with_context(|| format!("cannot hand {} over", path.display()))?;
    }
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    Ok(())
}

/// May the user pass through every folder above?
fn is_reachable(path: &Path, user: RunAs) -> bool {
    path.ancestors().all(|folder| {
        fs::metadata(folder).is_ok_and(|found| {
            let mode = found.mode();
            let bit = if found.uid() == user.uid {
                0o100
            } else if found.gid() == user.gid {
                0o010
            } else {
                0o001
            };
            mode & bit != 0
        })
    })
}
