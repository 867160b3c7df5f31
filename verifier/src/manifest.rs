//! The files of a pack: its manifest, and what is read held against it.

use std::io;

use serde::{Deserialize, Serialize};

use crate::{
    hash::{Hash, hex},
    journal::JOURNALS,
    pack::{Content, Pack},
    report::{Fault, Report, What},
};

pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const EVENTS: &str = "events.ndjson";
pub(crate) const HEAD: &str = "head.json";
pub(crate) const CHECKPOINTS: &str = "checkpoints/";
pub(crate) const KEYS: &str = "keys/";
const README: &str = "README.txt";
const MANIFEST_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    format: String,
    pub(crate) log: String,
    pub(crate) lane: u16,
    pub(crate) family_id: String,
    pub(crate) events: u64,
    pub(crate) checkpoint: u64,
    files: Vec<FileEntry>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileEntry {
    name: String,
    bytes: u64,
    sha256: String,
}

/// The manifest; none when it is missing or not in its one form.
pub(crate) fn read_manifest(pack: &mut Pack) -> io::Result<Option<Manifest>> {
    let Some(mut content) = pack.file(MANIFEST)? else {
        return Ok(None);
    };
    let Ok(bytes) = content.whole(MANIFEST_BYTES_MAX) else {
        return Ok(None);
    };
    let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) else {
        return Ok(None);
    };
    let is_ours = manifest.format == "kinledger-pack/1" && one_spelling(&manifest, &bytes);
    Ok(is_ours.then_some(manifest))
}

/// Is this the one way to write it: no spaces, fields in order, a line feed at the end?
pub(crate) fn one_spelling(value: &impl Serialize, bytes: &[u8]) -> bool {
    serde_json::to_vec(value).is_ok_and(|mut written| {
        written.push(b'\n');
        written == bytes
    })
}

/// The files of the manifest, and which have been held against it.
pub(crate) struct Seen {
    files: Vec<(FileEntry, bool)>,
}

impl Seen {
    pub(crate) fn new(manifest: &Manifest, names: &[String], report: &mut Report) -> Self {
        let files: Vec<(FileEntry, bool)> = manifest
            .files
            .iter()
            .map(|file| {
                let entry = FileEntry {
                    name: file.name.clone(),
                    bytes: file.bytes,
                    sha256: file.sha256.clone(),
                };
                (entry, false)
            })
            .collect();
        for pair in manifest.files.windows(2) {
            if pair[0].name >= pair[1].name {
                report.blame(Fault::file(MANIFEST, What::Manifest));
            }
        }
        for name in names.iter().filter(|name| *name != MANIFEST) {
            let is_ours = [EVENTS, HEAD, README].contains(&name.as_str())
                || JOURNALS.iter().any(|(journal, _)| name == journal)
                || is_note(name, CHECKPOINTS)
                || is_note(name, KEYS);
            if !is_ours || !files.iter().any(|(file, _)| file.name == *name) {
                report.blame(Fault::file(name, What::FileForeign));
            }
        }
        Self { files }
    }

    /// Notes of a folder, in order of their names.
    pub(crate) fn notes(&self, folder: &str) -> Vec<String> {
        let names = self.files.iter().map(|(file, _)| file.name.clone());
        names.filter(|name| is_note(name, folder)).collect()
    }

    pub(crate) fn hold(&mut self, name: &str, (bytes, hash): (u64, Hash), report: &mut Report) {
        let entry = self.files.iter_mut().find(|(file, _)| file.name == name);
        let is_same = entry.is_some_and(|(file, is_held)| {
            *is_held = true;
            file.bytes == bytes && file.sha256 == hex(&hash)
        });
        if !is_same {
            report.blame(Fault::file(name, What::FileChanged));
        }
    }

    /// A small file, held against the manifest.
    pub(crate) fn small(
        &mut self,
        pack: &mut Pack,
        name: &str,
        bytes_max: usize,
        report: &mut Report,
    ) -> Option<Vec<u8>> {
        let read = pack.file(name).and_then(|content| {
            let mut content = content.ok_or_else(|| io::Error::other("there is no such file"))?;
            let bytes = content.whole(bytes_max)?;
            Ok((bytes, content.finish()?))
        });
        match read {
            Ok((bytes, found)) => {
                self.hold(name, found, report);
                Some(bytes)
            }
            Err(error) => {
                report.blame(Fault::file(name, What::FileUnreadable(error.to_string())));
                None
            }
        }
    }

    /// Files that nothing was read from so far.
    pub(crate) fn rest(&mut self, pack: &mut Pack, report: &mut Report) -> io::Result<()> {
        let names: Vec<String> = self
            .files
            .iter()
            .filter(|(_, is_held)| !is_held)
            .map(|(file, _)| file.name.clone())
            .collect();
        for name in names {
            match pack.file(&name)?.map(Content::finish) {
                Some(Ok(found)) => self.hold(&name, found, report),
                Some(Err(error)) => report.blame(Fault::file(&name, What::FileUnreadable(error.to_string()))),
                None => report.blame(Fault::file(
                    &name,
                    What::FileUnreadable("there is no such file".to_owned()),
                )),
            }
        }
        for name in [EVENTS, HEAD, README]
            .into_iter()
            .chain(JOURNALS.iter().map(|(name, _)| *name))
        {
            if !self.files.iter().any(|(file, _)| file.name == name) {
                report.blame(Fault::file(
                    name,
                    What::FileUnreadable("there is no such file".to_owned()),
                ));
            }
        }
        Ok(())
    }
}

fn is_note(name: &str, folder: &str) -> bool {
    name.strip_prefix(folder)
        .and_then(|rest| rest.strip_suffix(".note"))
        .is_some_and(|stem| !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_digit()))
}
