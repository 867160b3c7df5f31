//! Files that hold secrets: for their owner, and at most for a group that may read.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path};

/// What others may not: anything. What a group may not: change it.
const TOO_OPEN: u32 = 0o027;

/// Why a secret is not taken from a file.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// It cannot be looked at.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which file.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Too many people may read or change it.
    #[error(
        "{path} is open to others (its rights are {rights:o}): a secret that others may read is none; chmod 600 {path}"
    )]
    TooOpen {
        /// Which file.
        path: String,
        /// Its rights.
        rights: u32,
    },
}

/// Reads a file that nobody but its owner, and a group that only reads, can get at.
///
/// # Errors
/// [`PrivateFileError`].
pub fn read(path: &Path) -> Result<Vec<u8>, PrivateFileError> {
    check(path)?;
    fs::read(path).map_err(|source| unreadable(path, source))
}

/// As [`read`], for who leaves the reading to somebody else.
///
/// # Errors
/// [`PrivateFileError`].
pub fn check(path: &Path) -> Result<(), PrivateFileError> {
    let found = fs::metadata(path).map_err(|source| unreadable(path, source))?;
    let rights = found.permissions().mode() & 0o777;
    if rights & TOO_OPEN != 0 {
        return Err(PrivateFileError::TooOpen {
            path: path.display().to_string(),
            rights,
        });
    }
    Ok(())
}

fn unreadable(path: &Path, source: io::Error) -> PrivateFileError {
    PrivateFileError::Unreadable {
        path: path.display().to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_others_may_read_or_a_group_may_change_is_refused() {
        let path = std::env::temp_dir().join(format!("kinledger-private-{}", uuid::Uuid::new_v4()));
        assert!(matches!(read(&path), Err(PrivateFileError::Unreadable { .. })));
        fs::write(&path, "s3cret").unwrap();
        for (rights, is_taken) in [
            (0o600, true),
            (0o400, true),
            (0o640, true),
            (0o644, false),
            (0o602, false),
            (0o660, false),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(rights)).unwrap();
            let found = read(&path);
            assert_eq!(found.is_ok(), is_taken, "{rights:o}");
            assert!(found.err().is_none_or(|error| !error.to_string().contains("s3cret")));
        }
        fs::remove_file(&path).unwrap();
    }
}
