//! The container: a folder, a zip file or bytes in memory. Whatever it claims, no more is read than the limits allow, and
//! nothing is written.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use zip::ZipArchive;

use crate::hash::Hash;

/// What is read at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one file, unpacked.
    pub file_bytes: u64,
    /// Bytes of one line: one event with its payload and the hashes before it.
    pub line_bytes: usize,
    /// Files.
    pub files: usize,
    /// Hashes of a lane that were kept elsewhere; each takes 32 bytes of memory.
    pub kept_leaves: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 64 << 30,
            line_bytes: 64 << 20,
            files: 2_000,
            kept_leaves: 64 << 20,
        }
    }
}

/// What can be read twice and from any place.
pub trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

/// A pack.
pub struct Pack {
    source: Source,
    limits: Limits,
}

enum Source {
    Folder(PathBuf),
    Zip(ZipArchive<Box<dyn ReadSeek>>),
    Memory(BTreeMap<String, Vec<u8>>),
}

impl Pack {
    /// Opens a zip file or a folder.
    ///
    /// # Errors
    /// When it is neither, or cannot be read.
    pub fn open(path: &Path, limits: Limits) -> io::Result<Self> {
        if path.is_dir() {
            let source = Source::Folder(path.to_owned());
            return Ok(Self { source, limits });
        }
        Self::zip(Box::new(File::open(path)?), limits)
    }

    /// Reads a zip file from anywhere.
    ///
    /// # Errors
    /// When it is none.
    pub fn zip(reader: Box<dyn ReadSeek>, limits: Limits) -> io::Result<Self> {
        let archive = ZipArchive::new(reader).map_err(io::Error::from)?;
        if archive.len() > limits.files {
            return Err(io::Error::other("the pack has too many files"));
        }
        let source = Source::Zip(archive);
        Ok(Self { source, limits })
    }

    /// A pack from its files.
    pub fn memory(files: BTreeMap<String, Vec<u8>>, limits: Limits) -> Self {
        let source = Source::Memory(files);
        Self { source, limits }
    }

    /// The limits.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The names of its files, sorted; folders separate them with a slash.
    ///
    /// # Errors
    /// When it cannot be read, or has too many files.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let mut names: Vec<String> = match &self.source {
            Source::Memory(files) => files.keys().cloned().collect(),
            Source::Zip(archive) => archive
                .file_names()
                .filter(|name| !name.ends_with('/'))
                .map(str::to_owned)
                .collect(),
            Source::Folder(folder) => {
                let mut names = Vec::new();
                list(folder, "", self.limits.files, &mut names)?;
                names
            }
        };
        names.sort_unstable();
        Ok(names)
    }

    /// Opens one of its files; none when there is no such file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn file(&mut self, name: &str) -> io::Result<Option<Content<'_>>> {
        let reader: Box<dyn Read + '_> = match &mut self.source {
            Source::Memory(files) => match files.get(name) {
                Some(bytes) => Box::new(bytes.as_slice()),
                None => return Ok(None),
            },
            Source::Zip(archive) => match archive.by_name(name) {
                Ok(file) => Box::new(file),
                Err(zip::result::ZipError::FileNotFound) => return Ok(None),
                Err(error) => return Err(error.into()),
            },
            Source::Folder(folder) => {
                // Names come from the folder's own listing or from a fixed list, and never lead out of it.
                if name.split('/').any(|part| part == ".." || part.is_empty()) {
                    return Ok(None);
                }
                match File::open(folder.join(name)) {
                    Ok(file) => Box::new(file),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(error),
                }
            }
        };
        let hashing = Hashing {
            reader,
            hash: Sha256::new(),
            bytes: 0,
            bytes_max: self.limits.file_bytes,
        };
        Ok(Some(Content {
            reader: BufReader::with_capacity(1 << 18, hashing),
            line_bytes: self.limits.line_bytes,
        }))
    }
}

fn list(folder: &Path, prefix: &str, files_max: usize, names: &mut Vec<String>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        // One level of folders is all there is.
        if entry.file_type()?.is_dir() && prefix.is_empty() {
            list(&entry.path(), &format!("{name}/"), files_max, names)?;
        } else {
            names.push(name);
        }
        if names.len() > files_max {
            return Err(io::Error::other("the pack has too many files"));
        }
    }
    Ok(())
}

/// A file being read, line by line or whole, and hashed on the way.
pub(crate) struct Content<'a> {
    reader: BufReader<Hashing<'a>>,
    line_bytes: usize,
}

impl Content<'_> {
    /// The next line without its end into `line`; false at the end of the file. A last line without its end is none.
    pub(crate) fn next_line(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        line.clear();
        let limit = self.line_bytes as u64 + 1;
        self.reader.by_ref().take(limit).read_until(b'\n', line)?;
        if line.is_empty() {
            return Ok(false);
        }
        if line.pop() != Some(b'\n') {
            return Err(io::Error::other("a line is not ended, or too long"));
        }
        Ok(true)
    }

    /// The whole file, if it is no longer than this.
    pub(crate) fn whole(&mut self, bytes_max: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader
            .by_ref()
            .take(bytes_max as u64 + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() > bytes_max {
            return Err(io::Error::other("the file is too long"));
        }
        Ok(bytes)
    }

    /// Reads what is left, and says how long the file is and what its SHA-256 is.
    pub(crate) fn finish(mut self) -> io::Result<(u64, Hash)> {
        io::copy(&mut self.reader, &mut io::sink())?;
        let hashing = self.reader.into_inner();
        Ok((hashing.bytes, hashing.hash.finalize().into()))
    }
}

struct Hashing<'a> {
    reader: Box<dyn Read + 'a>,
    hash: Sha256,
    bytes: u64,
    bytes_max: u64,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.bytes += read as u64;
        if self.bytes > self.bytes_max {
            return Err(io::Error::other("the file is longer than the limit"));
        }
        Ok(read)
    }
}
