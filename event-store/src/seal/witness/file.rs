//! A folder.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::WitnessError;

#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn new(path: &str) -> Self {
        Self { path: path.into() }
    }

    pub(super) fn keep(&self, name: &str, bytes: &[u8]) -> Result<(), WitnessError> {
        let path = self.path.join(name);
        match fs::read(&path) {
            Ok(there) if there == bytes => return Ok(()),
            Ok(_) => return Err(WitnessError::Other(name.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(WitnessError::File(error)),
        }
        let draft = draft(&path, bytes).map_err(WitnessError::File)?;
        // A link never replaces what is there.
        let linked = fs::hard_link(&draft, &path);
        fs::remove_file(&draft).map_err(WitnessError::File)?;
        match linked {
            Ok(()) => sync_folder(&path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match fs::read(&path) {
                Ok(there) if there == bytes => Ok(()),
                Ok(_) => Err(WitnessError::Other(name.to_owned())),
                Err(error) => Err(WitnessError::File(error)),
            },
            Err(error) => Err(WitnessError::File(error)),
        }
    }

    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), WitnessError> {
        let path = self.path.join(name);
        let draft = draft(&path, bytes).map_err(WitnessError::File)?;
        fs::rename(&draft, &path).map_err(WitnessError::File)?;
        sync_folder(&path)
    }

    pub(super) fn get(&self, name: &str) -> Result<Option<Vec<u8>>, WitnessError> {
        match fs::read(self.path.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(WitnessError::File(error)),
        }
    }
}

/// The bytes on disk, beside the place they are meant for.
fn draft(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension(format!("draft-{}", uuid::Uuid::new_v4().simple()));
    let mut file = File::create_new(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(draft)
}

/// The name is on disk, too.
fn sync_folder(path: &Path) -> Result<(), WitnessError> {
    let folder = path.parent().unwrap_or(path);
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(WitnessError::File)
}
