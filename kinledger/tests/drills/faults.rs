//! A machine that misbehaves: `faults.c`, loaded before the C library of the processes under test.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt, PermissionsExt},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

/// What one or several processes are told of the wall clock and of the disk; changes reach them at once.
pub struct Faults {
    folder: TempDir,
    control: File,
}

impl Faults {
    /// Nothing is wrong yet. Needs a C compiler, as the build does.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("kinledger-faults-").tempdir().unwrap();
        // Unprivileged servers have to get through.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/drills/faults.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-o"])
            .arg(folder.path().join("faults.so"))
            .arg(source)
            .output()
            .expect("this needs the C compiler `cc`");
        assert!(
            compiled.status.success(),
            "{}",
            String::from_utf8_lossy(&compiled.stderr)
        );
        let path = folder.path().join("control");
        let control = OpenOptions::new()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        control.write_all_at(&[0; 16], 0).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        Self { folder, control }
    }

    /// The variables that bring it into a process.
    pub fn environment(&self) -> Vec<(String, String)> {
        let path = |name: &str| -> String {
            let path: PathBuf = self.folder.path().join(name);
            path.to_str().unwrap().to_owned()
        };
        vec![
            ("LD_PRELOAD".to_owned(), path("faults.so")),
            ("KINLEDGER_FAULTS".to_owned(), path("control")),
        ]
    }

    /// The wall clock is off by so many seconds from now on.
    pub fn shift_clock(&self, seconds: i64) {
        self.control.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }

    /// Each flush to disk takes so much longer from now on.
    pub fn slow_disk(&self, by: Duration) {
        let microseconds = i64::try_from(by.as_micros()).unwrap();
        self.control.write_all_at(&microseconds.to_ne_bytes(), 8).unwrap();
    }
}
