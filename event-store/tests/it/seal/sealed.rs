//! A sealed log with random ledgers, packs of it, and the verdicts on them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use domain::id::FamilyId;
use event_store::{
    Log,
    pack::{PARTS_MAX, Packed, Part, pack},
    seal::{SealSettings, SealStatus, SealingKey, log_name, run, seal_now, witness::Witness},
};
use service_kit::{database::DatabaseRole, testing::TestDatabase};
use sqlx::{Executor, PgPool};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use uuid::Uuid;
use verifier::{Kept, Limits, Pack, Report, Trust, VerifierKey, verify};

use crate::export::{LANE, append, random_ledger::random_ledger};

pub type Files = BTreeMap<String, Vec<u8>>;

pub struct Sealed {
    pub database: TestDatabase,
    pub log: Log,
    /// The same log, read over all families.
    pub whole: Log,
    pub sealer: PgPool,
    pub folder: tempfile::TempDir,
    pub settings: SealSettings,
}

pub fn family(number: u64) -> FamilyId {
    FamilyId::from_uuid(Uuid::from_u128(0xFA_0000 + u128::from(number)))
}

impl Sealed {
    pub async fn new() -> Self {
        let database = TestDatabase::create().await;
        let log = Log::new(database.pool(DatabaseRole::Writer).await, [7; 32]);
        let whole = Log::new(database.pool(DatabaseRole::Auditor).await, [7; 32]);
        let sealer = database.pool(DatabaseRole::Sealer).await;
        let folder = tempfile::tempdir().unwrap();
        let witness = Witness::parse(&format!("file://{}", folder.path().join("kept").display()), None).unwrap();
        let settings = SealSettings {
            key_file: folder.path().join("sealing-key"),
            every: Duration::ZERO,
            witnesses: vec![witness],
        };
        Self {
            database,
            log,
            whole,
            sealer,
            folder,
            settings,
        }
    }

    /// Three families side by side in one lane, appended and sealed turn by turn.
    pub async fn with_families(entries: usize) -> Self {
        let sealed = Self::new().await;
        let facts: Vec<_> = (1..=3)
            .map(|n| (family(n), random_ledger(family(n), n, entries)))
            .collect();
        for part in 1..=4 {
            for (family, facts) in &facts {
                let (from, to) = (facts.len() * (part - 1) / 4, facts.len() * part / 4);
                append(&sealed.log, *family, &facts[..to], from).await;
            }
            sealed.seal().await;
        }
        sealed
    }

    pub async fn seal(&self) -> SealStatus {
        let status = SealStatus::default();
        seal_now(&self.sealer, &self.settings, &status).await.unwrap();
        status
    }

    pub async fn key(&self) -> VerifierKey {
        let log = log_name(self.log.pool()).await.unwrap();
        let key = SealingKey::read_or_create(&self.settings.key_file, &log).unwrap();
        VerifierKey::parse(&key.verifier_key()).unwrap()
    }

    /// Where checkpoints are kept.
    pub fn kept_folder(&self) -> PathBuf {
        self.folder.path().join("kept")
    }

    /// A pack of a family as files in memory.
    pub async fn pack(&self, family: FamilyId) -> Files {
        self.packed(family, &[]).await.0
    }

    pub async fn packed(&self, family: FamilyId, wanted: &[u64]) -> (Files, Packed) {
        let (sender, mut parts) = mpsc::channel(PARTS_MAX);
        let collect = async {
            let mut files = Files::new();
            let mut open = String::new();
            while let Some(part) = parts.recv().await {
                match part {
                    Part::File(name) => {
                        files.insert(name.clone(), Vec::new());
                        open = name;
                    }
                    Part::Bytes { bytes, .. } => files.get_mut(&open).unwrap().extend_from_slice(&bytes),
                    Part::End => return (files, true),
                }
            }
            (files, false)
        };
        let (packed, (files, is_ended)) = tokio::join!(pack(&self.log, LANE, family, wanted, sender), collect);
        assert!(is_ended);
        (files, packed.unwrap())
    }

    /// Statements as the database's owner, past triggers and policies.
    pub async fn tamper(&self, statements: &str) {
        let owner = self.database.superuser().await;
        let statements = format!("set session_replication_role = replica; {statements}");
        owner
            .execute(sqlx::raw_sql(&statements))
            .await
            .unwrap_or_else(|error| panic!("{error}: {statements}"));
        owner.close().await;
    }

    /// Copies every table of the log: what a backup would have. Replaces the copy before.
    pub async fn back_up(&self) {
        let statements = "drop schema if exists saved cascade; create schema saved; \
            do $$ declare name text; begin \
                for name in select relname from pg_class where relnamespace = 'log'::regnamespace \
                    and relkind in ('r', 'p') and not relispartition \
                loop execute format('create table saved.%I as table log.%I', name, name); end loop; \
            end $$";
        self.tamper(statements).await;
    }

    /// Brings tables back to what [`Self::back_up`] copied: those named, or with none named all of them.
    pub async fn restore(&self, tables: &[&str]) {
        let all: Vec<String> = if tables.is_empty() {
            sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'saved'")
                .fetch_all(&self.database.superuser().await)
                .await
                .unwrap()
        } else {
            tables.iter().map(|table| (*table).to_owned()).collect()
        };
        assert!(!all.is_empty());
        let statements = all.iter().map(|table| {
            format!(
                "delete from log.{table}; insert into log.{table} overriding system value select * from saved.{table};"
            )
        });
        self.tamper(&statements.collect::<String>()).await;
    }

    /// The latest checkpoint of the lane that is kept in the folder.
    pub fn latest_kept(&self) -> Vec<u8> {
        std::fs::read(self.kept_folder().join(format!("lane-{LANE}/checkpoint"))).unwrap()
    }

    pub async fn end(self) {
        self.log.pool().close().await;
        self.whole.pool().close().await;
        self.sealer.close().await;
        self.database.drop().await;
    }
}

/// A sealer at work beside the test.
pub struct Running {
    pub status: SealStatus,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    pub fn start(sealed: &Sealed) -> Self {
        let (stop, stopping) = watch::channel(false);
        let status = SealStatus::default();
        let settings = SealSettings {
            every: Duration::from_millis(20),
            ..sealed.settings.clone()
        };
        let task = tokio::spawn(run(sealed.sealer.clone(), settings, status.clone(), stopping));
        Self { status, stop, task }
    }

    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }

    /// Everything in the lane is sealed, and nothing is wrong.
    pub fn is_well(&self, head: i64) -> bool {
        let lanes = self.status.lanes();
        let sealed = lanes.get(&LANE).map_or(0, |lane| lane.sealed);
        self.status.check().is_ok() && sealed == head.unsigned_abs()
    }
}

/// Waits for it, half a minute at most.
pub async fn wait(mut until: impl FnMut() -> bool, what: &str) {
    for _ in 0..1_500 {
        if until() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not within thirty seconds: {what}");
}

/// What the verifier says to a pack, with nothing kept elsewhere.
pub fn verdict(files: Files, key: &VerifierKey, family: FamilyId) -> Report {
    verdict_with(files, key, family, None)
}

/// The same, with what was kept in a folder or a file.
pub fn verdict_with(files: Files, key: &VerifierKey, family: FamilyId, kept_at: Option<&Path>) -> Report {
    let mut kept = Kept::default();
    if let Some(path) = kept_at {
        kept.add(path).unwrap();
    }
    let trust = Trust {
        keys: vec![key.clone()],
        family_id: Some(*family.uuid().as_bytes()),
        kept,
    };
    verify(&mut Pack::memory(files, Limits::default()), &trust).unwrap()
}

/// The first bad event that a report names; none for a whole pack.
pub fn named(report: &Report) -> Option<u64> {
    report.first_bad().and_then(|fault| fault.family_seq)
}
