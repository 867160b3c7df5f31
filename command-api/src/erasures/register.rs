//! The register of erasures: a file outside the database, so that a backup from before an erasure cannot bring back what was erased.
//!
//! A line for each: when, which family, and which member, or `family` when it was deleted; or when, which account, and `account` when
//! a person closed it. No text of anybody is in it. It is only ever added to, and on disk before anybody relies on it. A line that a crash broke off is made good: it is in the database, too,
//! and written again.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use chrono::{DateTime, SecondsFormat, Utc};
use domain::id::{FamilyId, MemberId, UserId};

/// Whose texts were erased: a member's, or a whole family's.
pub type Erased = (FamilyId, Option<MemberId>);

/// What a line says is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gone {
    /// A place, or a family.
    Place(Erased),
    /// An account that was closed.
    Account(UserId),
}

/// The word in the place of a member.
const FAMILY: &str = "family";
/// The word behind an account.
const ACCOUNT: &str = "account";
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
    gone: BTreeMap<Gone, DateTime<Utc>>,
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
        let mut gone = BTreeMap::new();
        for (number, line) in text[..whole].lines().enumerate() {
            let (who, at) = parse(line).ok_or_else(|| RegisterError::Damaged {
                path: path.to_owned(),
                line: number + 1,
            })?;
            gone.entry(who).or_insert(at);
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            gone,
        })
    }

    /// Everybody who was erased.
    pub fn erased(&self) -> impl Iterator<Item = Erased> {
        self.gone.keys().filter_map(|gone| match gone {
            Gone::Place(erased) => Some(*erased),
            Gone::Account(_) => None,
        })
    }

    /// Every account that was closed.
    pub fn closed(&self) -> impl Iterator<Item = UserId> {
        self.gone.keys().filter_map(|gone| match gone {
            Gone::Place(_) => None,
            Gone::Account(user) => Some(*user),
        })
    }

    /// Adds what is not in it yet; it is on disk when this returns.
    ///
    /// # Errors
    /// [`RegisterError::File`]; then it may be added again.
    pub fn add(&mut self, lines: &[(Gone, DateTime<Utc>)]) -> Result<(), RegisterError> {
        let new: Vec<_> = lines.iter().filter(|(who, _)| !self.gone.contains_key(who)).collect();
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
        self.gone.extend(new.into_iter().copied());
        Ok(())
    }
}

fn line(gone: Gone, at: DateTime<Utc>) -> String {
    let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
    match gone {
        Gone::Place((family, Some(member))) => format!("{at} {family} {member}\n"),
        Gone::Place((family, None)) => format!("{at} {family} {FAMILY}\n"),
        Gone::Account(user) => format!("{at} {user} {ACCOUNT}\n"),
    }
}

fn parse(line: &str) -> Option<(Gone, DateTime<Utc>)> {
    let mut words = line.split(' ');
    let at = DateTime::parse_from_rfc3339(words.next()?).ok()?.to_utc();
    let (whose, which) = (words.next()?, words.next()?);
    let gone = match which {
        ACCOUNT => Gone::Account(whose.parse().ok()?),
        FAMILY => Gone::Place((whose.parse().ok()?, None)),
        member => Gone::Place((whose.parse().ok()?, Some(member.parse().ok()?))),
    };
    words.next().is_none().then_some((gone, at))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn who(family: u128, member: Option<u128>) -> Erased {
        let member = member.map(|number| MemberId::from_uuid(Uuid::from_u128(number)));
        (FamilyId::from_uuid(Uuid::from_u128(family)), member)
    }

    fn gone(family: u128, member: Option<u128>) -> (Gone, DateTime<Utc>) {
        (Gone::Place(who(family, member)), DateTime::UNIX_EPOCH)
    }

    #[test]
    fn what_is_added_is_there_again_once_and_a_broken_line_is_made_good() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("erasures");
        let (one, two) = (gone(1, Some(2)), gone(1, None));
        let user = UserId::from_uuid(Uuid::from_u128(4));
        let three = (Gone::Account(user), DateTime::UNIX_EPOCH);
        Register::open(&path).unwrap().add(&[one]).unwrap();
        let mut register = Register::open(&path).unwrap();
        register.add(&[one, two, three]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
        drop(register);
        OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"2026-01")
            .unwrap();
        let mut register = Register::open(&path).unwrap();
        register.add(&[gone(3, None)]).unwrap();
        let register = Register::open(&path).unwrap();
        assert_eq!(register.closed().collect::<Vec<_>>(), [user]);
        let again: Vec<_> = register.erased().collect();
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
