//! Passwords known from breaches, looked up in a file on this machine; nobody outside is asked.
//!
//! The file is Have I Been Pwned's download: a line for each password, its SHA-1 in upper-case hexadecimal, a colon and a count,
//! sorted by hash. It has tens of gigabytes, so it is searched where it lies: some forty reads of a block find a line.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::IdentityError;

/// Hexadecimal digits of a hash.
const HASH_DIGITS: usize = 40;
/// Longest line that is understood, with its end: a hash, a colon, and a count of up to 20 digits.
const LINE_BYTES_MAX: usize = 64;

/// An open file of hashes.
pub(super) struct Breached {
    path: PathBuf,
    file: Mutex<File>,
    bytes: u64,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the file of breached passwords {path} cannot be used")]
pub struct BreachedError {
    path: String,
    #[source]
    source: io::Error,
}

impl Breached {
    /// Opens the file and looks whether its ends are of the expected form.
    pub fn open(path: &Path) -> Result<Self, IdentityError> {
        let failed = |source| BreachedError {
            path: path.display().to_string(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let breached = Self {
            path: path.to_owned(),
            file: Mutex::new(file),
            bytes,
        };
        let first = breached.line_from(0).map_err(failed)?;
        let is_hash = |line: &[u8]| line.len() >= HASH_DIGITS && line[..HASH_DIGITS].iter().all(u8::is_ascii_hexdigit);
        if !first.is_some_and(|(line, _)| is_hash(&line)) {
            let reason = "its first line is no SHA-1 in hexadecimal";
            return Err(failed(io::Error::new(io::ErrorKind::InvalidData, reason)).into());
        }
        Ok(breached)
    }

    /// What a password is looked up by.
    pub fn hash(password: &str) -> String {
        hex::encode_upper(digest(&SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes()))
    }

    /// Whether the file has this hash. Blocks for as long as the disk takes.
    pub fn contains(&self, hash: &str) -> Result<bool, BreachedError> {
        self.search(hash.as_bytes()).map_err(|source| BreachedError {
            path: self.path.display().to_string(),
            source,
        })
    }

    /// Halves the range of bytes in which the line may begin. Each step looks at the first whole line from the middle on.
    fn search(&self, hash: &[u8]) -> io::Result<bool> {
        let (mut from, mut to) = (0, self.bytes);
        while from < to {
            let middle = from + (to - from) / 2;
            let start = self.line_start(middle)?;
            let Some((line, length)) = self.line_from(start)?.filter(|_| start < to) else {
                // No line begins between the middle and the end: what remains is before it.
                to = middle;
                continue;
            };
            let found = line.get(..HASH_DIGITS).unwrap_or(&line).to_ascii_uppercase();
            match found.as_slice().cmp(hash) {
                std::cmp::Ordering::Equal => return Ok(true),
                std::cmp::Ordering::Less => from = start + length,
                std::cmp::Ordering::Greater => to = middle,
            }
        }
        Ok(false)
    }

    /// The first byte at or after `at` where a line begins; the end of the file when there is none.
    fn line_start(&self, at: u64) -> io::Result<u64> {
        if at == 0 {
            return Ok(0);
        }
        let bytes = self.read(at - 1)?;
        match bytes.iter().position(|byte| *byte == b'\n') {
            Some(index) => Ok(at + index as u64),
            None if bytes.len() < LINE_BYTES_MAX => Ok(self.bytes),
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long")),
        }
    }

    /// The line that begins at `start`, and how many bytes it takes with its end.
    fn line_from(&self, start: u64) -> io::Result<Option<(Vec<u8>, u64)>> {
        let mut bytes = self.read(start)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let length = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(index) => index + 1,
            None if bytes.len() < LINE_BYTES_MAX => bytes.len(),
            None => return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long")),
        };
        bytes.truncate(length);
        Ok(Some((bytes.trim_ascii_end().to_vec(), length as u64)))
    }

    fn read(&self, at: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(LINE_BYTES_MAX);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(at))?;
        Read::by_ref(&mut *file)
            .take(LINE_BYTES_MAX as u64)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_lines(lines: &[String], end: &str) -> (tempfile::TempDir, Breached) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pwned.txt");
        std::fs::write(
            &path,
            lines.iter().map(|line| format!("{line}{end}")).collect::<String>(),
        )
        .unwrap();
        let breached = Breached::open(&path).ok().unwrap();
        (folder, breached)
    }

    #[test]
    fn every_line_of_the_file_is_found_and_nothing_else() {
        for (count, end) in [(1, "\n"), (2, "\r\n"), (777, "\r\n"), (1_000, "\n")] {
            let mut lines: Vec<String> = (0..count)
                .map(|number: u64| format!("{}:{}", Breached::hash(&format!("password {number}")), number * number))
                .collect();
            lines.sort();
            let (_folder, breached) = with_lines(&lines, end);
            for number in 0..count {
                assert!(
                    breached
                        .contains(&Breached::hash(&format!("password {number}")))
                        .unwrap(),
                    "{number}"
                );
            }
            for number in 0..1_000 {
                assert!(
                    !breached.contains(&Breached::hash(&format!("other {number}"))).unwrap(),
                    "{number}"
                );
            }
            assert!(!breached.contains(&"0".repeat(40)).unwrap());
            assert!(!breached.contains(&"F".repeat(40)).unwrap());
        }
    }

    #[test]
    fn a_hash_is_have_i_been_pwneds() {
        assert_eq!(Breached::hash("password"), "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8");
    }

    #[test]
    fn another_file_is_refused_at_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("words.txt");
        assert!(Breached::open(&path).is_err());
        std::fs::write(&path, "password\n123456\n").unwrap();
        assert!(Breached::open(&path).is_err());
        std::fs::write(&path, "").unwrap();
        assert!(Breached::open(&path).is_err());
    }
}
