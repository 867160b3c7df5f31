//! Writing a pack down: as a folder, or as a zip file that needs no seeking, so that it can go straight to a client.
//!
//! Both block; call them where that is allowed.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

use tokio::sync::mpsc;
use zip::{ZipWriter, write::SimpleFileOptions};

use super::Part;

/// Writes a zip file. `heard` is told of the events written so far.
///
/// # Errors
/// When the writer fails, or the pack was not finished: what was written is then of no use.
pub fn write_zip<W: Write>(mut parts: mpsc::Receiver<Part>, writer: W, mut heard: impl FnMut(i64)) -> io::Result<W> {
    let mut zip = ZipWriter::new_stream(writer);
    // A file may be longer than 4 GiB, and its length is not known when it begins.
    let options = SimpleFileOptions::default().large_file(true);
    while let Some(part) = parts.blocking_recv() {
        match part {
            Part::File(name) => zip.start_file(name, options)?,
            Part::Bytes { bytes, events } => {
                zip.write_all(&bytes)?;
                heard(events);
            }
            Part::End => return Ok(zip.finish()?.into_inner()),
        }
    }
    Err(unfinished())
}

/// Writes a folder, which must be empty or missing.
///
/// # Errors
/// As [`write_zip`].
pub fn write_folder(mut parts: mpsc::Receiver<Part>, folder: &Path, mut heard: impl FnMut(i64)) -> io::Result<()> {
    let mut open: Option<BufWriter<File>> = None;
    while let Some(part) = parts.blocking_recv() {
        if !matches!(part, Part::Bytes { .. })
            && let Some(file) = open.take()
        {
            file.into_inner()?.sync_all()?;
        }
        match part {
            Part::File(name) => {
                let path = folder.join(name);
                fs::create_dir_all(path.parent().unwrap_or(folder))?;
                open = Some(BufWriter::new(File::create_new(path)?));
            }
            Part::Bytes { bytes, events } => {
                if let Some(file) = &mut open {
                    file.write_all(&bytes)?;
                }
                heard(events);
            }
            Part::End => return Ok(()),
        }
    }
    Err(unfinished())
}

fn unfinished() -> io::Error {
    io::Error::other("the pack did not come to its end")
}
