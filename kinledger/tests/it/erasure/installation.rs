//! Where Kinledger runs, as an erasure sees it: whatever there could keep a text.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::Value;

use super::searching::Place;
use crate::{
    apart::parts::{PARTS, Parts},
    support::{Entrance, Kinledger},
};

/// A deployment of either kind.
pub trait Installation: Entrance {
    /// The database, as somebody who may read all of it.
    fn database_url(&self) -> String;
    /// Runs another command of the binary on it.
    fn command(&self, arguments: &[&str]) -> Output;
    /// Its register of erasures.
    fn register(&self) -> PathBuf;
    /// What its processes and its database server have logged and printed, and every file but the database's own.
    fn kept(&self) -> Vec<Place>;
}

impl Installation for Kinledger {
    fn database_url(&self) -> String {
        let running = fs::read(self.data_dir().join("running.json")).unwrap();
        let running: Value = serde_json::from_slice(&running).unwrap();
        running["database_url"].as_str().unwrap().to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Output {
        self.run(arguments)
    }

    fn register(&self) -> PathBuf {
        self.data_dir().join("erasures")
    }

    fn kept(&self) -> Vec<Place> {
        let server = self.data_dir().join("postgres/server.log");
        let mut places = vec![
            ("log".to_owned(), self.logged().into_bytes()),
            ("printed".to_owned(), self.printed().join("\n").into_bytes()),
            ("server.log".to_owned(), fs::read(server).unwrap()),
        ];
        files(&self.data_dir(), "data", &mut places);
        places
    }
}

impl Installation for Parts {
    fn database_url(&self) -> String {
        self.database_url()
    }

    fn command(&self, arguments: &[&str]) -> Output {
        self.run(arguments)
    }

    fn register(&self) -> PathBuf {
        self.register()
    }

    /// The parts' logs are files of their folder.
    fn kept(&self) -> Vec<Place> {
        let mut places = vec![("postgres.log".to_owned(), self.logged_by_postgres())];
        files(self.folder(), "parts", &mut places);
        let logs = places.iter().filter(|(name, _)| name.ends_with(".log")).count();
        assert_eq!(logs, 1 + PARTS.len(), "every part has a log");
        places
    }
}

/// Files of a folder and those below it, but for the database's own, of which the dump says what is in them, and backups.
pub fn files(folder: &Path, name: &str, places: &mut Vec<Place>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let file = entry.file_name().to_string_lossy().into_owned();
        if file == "postgres" || file.starts_with("postgres-") || file.starts_with("backup") {
            continue;
        }
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files(&entry.path(), &format!("{name}/{file}"), places);
        } else if kind.is_file() {
            places.push((format!("{name}/{file}"), fs::read(entry.path()).unwrap()));
        }
    }
}
