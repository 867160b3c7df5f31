//! The register of erasures: a file outside the database, so that a backup from before an erasure cannot bring back what was erased.
//!
//! A line for each: when, which family, and which member, or `family` when it was deleted. No text of anybody is in it. It is only
//! ever added to, and on disk before anybody relies on it. A line that a crash broke off is made good: it is in the database, too,
//! and written again.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use chrono::{DateTime, SecondsFormat, Utc};
use domain::id::{FamilyId, MemberId};

/// Whose texts were erased: a member's, or a whole family's.
pub type Erased = (FamilyId, Option<MemberId>);

/// The word in the place of a member.
const FAMILY: &str = "family";
/// What others may not do with the file: anything.
const RIGHTS_OF_OTHERS: u32 = 0o077;

/// Why the register cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// It cannot be read or written.
    #[error("the register of erasures {path} cannot be used")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Others may read or change it.
    #[error("the register of erasures {path} is open to others: chmod 600 {path}")]
    Open {
        /// Which file.
        path: PathBuf,
    },
    /// A line is none of ours.
    #[error("line {line} of the register of erasures {path} cannot be read: restore the file from a backup")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
}

/// The open file, and what is in it.
pub struct Register {
    path: PathBuf,
    file: File,
    erased: BTreeMap<Erased, DateTime<Utc>>,
}

impl Register {
    /// Opens the register, or begins one.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub fn open(path: &Path) -> Result<Self, RegisterError> {
        let failed = |source| RegisterError::File {
            path: path.to_owned(),
            source,
        };
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        let rights = file.metadata().map_err(failed)?.permissions().mode();
        if rights & RIGHTS_OF_OTHERS != 0 {
            return Err(RegisterError::Open { path: path.to_owned() });
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            file.set_len(whole as u64).map_err(failed)?;
            file.seek(io::SeekFrom::End(0)).map_err(failed)?;
        }
        let mut erased = BTreeMap::new();
        for (number, line) in text[..whole].lines().enumerate() {
            let (who, at) = parse(line).ok_or_else(|| RegisterError::Damaged {
                path: path.to_owned(),
                line: number + 1,
            })?;
            erased.entry(who).or_insert(at);
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            erased,
        })
    }

    /// Everybody who was erased.
    pub fn erased(&self) -> impl Iterator<Item = Erased> {
        self.erased.keys().copied()
    }

    /// Adds what is not in it yet; it is on disk when this returns.
    ///
    /// # Errors
    /// [`RegisterError::File`]; then it may be added again.
    pub fn add(&mut self, erasures: &[(Erased, DateTime<Utc>)]) -> Result<(), RegisterError> {
        let new: Vec<_> = erasures
            .iter()
            .filter(|(who, _)| !self.erased.contains_key(who))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let lines: String = new.iter().map(|(who, at)| line(*who, *at)).collect();
        let written = self
            .file
            .write_all(lines.as_bytes())
            .and_then(|()| self.file.sync_all());
        written.map_err(|source| RegisterError::File {
            path: self.path.clone(),
            source,
        })?;
        self.erased.extend(new.into_iter().copied());
        Ok(())
    }
}

fn line((family, member): Erased, at: DateTime<Utc>) -> String {
    let who = member.map_or(FAMILY.to_owned(), |member| member.to_string());
    format!("{} {family} {who}\n", at.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn parse(line: &str) -> Option<(Erased, DateTime<Utc>)> {
    let mut words = line.split(' ');
    let at = DateTime::parse_from_rfc3339(words.next()?).ok()?.to_utc();
    let family = words.next()?.parse().ok()?;
    let member = match words.next()? {
        FAMILY => None,
        member => Some(member.parse().ok()?),
    };
    words.next().is_none().then_some(((family, member), at))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn who(family: u128, member: Option<u128>) -> Erased {
        let member = member.map(|number| MemberId::from_uuid(Uuid::from_u128(number)));
        (FamilyId::from_uuid(Uuid::from_u128(family)), member)
    }

    #[test]
    fn what_is_added_is_there_again_once_and_a_broken_line_is_made_good() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("erasures");
        let at = DateTime::UNIX_EPOCH;
        let (one, two) = ((who(1, Some(2)), at), (who(1, None), at));
        Register::open(&path).unwrap().add(&[one]).unwrap();
        let mut register = Register::open(&path).unwrap();
        register.add(&[one, two]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
        drop(register);
        OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"2026-01")
            .unwrap();
        let mut register = Register::open(&path).unwrap();
        register.add(&[(who(3, None), at)]).unwrap();
        let again: Vec<_> = Register::open(&path).unwrap().erased().collect();
        assert_eq!(again, [who(1, None), who(1, Some(2)), who(3, None)]);
    }

    #[test]
    fn a_damaged_register_and_one_that_others_may_read_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("erasures");
        drop(Register::open(&path).unwrap());
        std::fs::write(&path, "yesterday somebody\n").unwrap();
        assert!(matches!(
            Register::open(&path),
            Err(RegisterError::Damaged { line: 1, .. })
        ));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Register::open(&path), Err(RegisterError::Open { .. })));
    }
}
