//! A log that several releases have written to: the same events in older and newer versions, on every path that reads them.

use std::time::Duration;

use cqrs_es::{AggregateContext, EventStore, persist::PersistedEventStore};
use domain::{
    Currency, Money,
    aggregate::{DecodeError, LedgerEvent, LedgerUpcaster},
    calendar::WeekStart,
    category::{CategoryAdded, CategoryKind},
    entry::{BankTransactionBooked, EntryEvent},
    family::FamilyCreated,
    id::{AccountId, CategoryId, CommandId, ConnectionId, EntryId, FamilyId, ImportId},
    journal::Posting,
    ledger_account::{AccountKind, AccountOpened},
    statement_import::{
        ListedEntry, StatementEntriesListed, StatementImport, StatementImportEvent, StatementImportUndone,
        StatementImported,
    },
    stream::StreamId,
    upcasters::StillWritten,
};
use event_store::{
    AppendCommand, AppendEvent, Log, LogError, Record, Verdict,
    cqrs::LedgerStore,
    export::{Chunk, export, format},
    feed::{Feed, KafkaFeed, PostgresFeed},
    replay::{AsOf, ReplayError, replay},
    verify::verify_family,
};
use postgres_es::PostgresEventRepository;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{
    relay::{RunningRelay, brokers},
    support::{Fixture, LANE, day, family, family_stream},
};

/// As release 0.1.0 writes it: the ids of the entries an import brought.
const AS_BEFORE: &[StillWritten] = &[StillWritten {
    event_type: "StatementEntriesListed",
    event_version: "1",
    downcast: |event| {
        let LedgerEvent::StatementImport(StatementImportEvent::StatementEntriesListed(listed)) = event else {
            return None;
        };
        let entries: Vec<_> = listed.booked().collect();
        Some(json!({"type": "StatementEntriesListed", "import_id": listed.import_id, "entries": entries}).to_string())
    },
}];

/// As a release of tomorrow may write it.
const AS_TOMORROW: &[StillWritten] = &[StillWritten {
    event_type: "StatementEntriesListed",
    event_version: "3",
    downcast: |event| Some(event.encode()),
}];

const AS_TODAY: &[StillWritten] = &[];

/// The rows of the import, and how they are listed.
const ROWS: u128 = 8;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(0xE_0000 + number)
}

fn import_id() -> ImportId {
    ImportId::from_uuid(id(1))
}

fn entry_id(number: u128) -> EntryId {
    EntryId::from_uuid(id(100 + number))
}

fn euros() -> Currency {
    "EUR".parse().unwrap()
}

fn listed(number: u128) -> LedgerEvent {
    let entries = vec![ListedEntry::Booked {
        entry_id: entry_id(number),
    }];
    let listed = StatementEntriesListed {
        import_id: import_id(),
        entries,
    };
    LedgerEvent::StatementImport(listed.into())
}

/// A household that imports a statement; each row's listing is appended as `writer` says.
struct Written {
    fixture: Fixture,
    family: FamilyId,
    head: i64,
}

impl Written {
    async fn by(writer: impl Fn(u128) -> &'static [StillWritten]) -> Self {
        let mut written = Self {
            fixture: Fixture::new().await,
            family: family(1),
            head: 0,
        };
        written.beginning().await;
        for number in 0..ROWS {
            let import = StreamId {
                kind: "statement-import",
                id: import_id().uuid(),
            };
            let sequence = i64::try_from(number).unwrap() + 2;
            written.append(writer(number), import, sequence, listed(number)).await;
        }
        written
    }

    async fn beginning(&mut self) {
        let (account_id, category_id) = (AccountId::from_uuid(id(2)), CategoryId::from_uuid(id(3)));
        let created = FamilyCreated {
            family_id: self.family,
            name: "Lovelace".to_owned(),
            currency: euros(),
            zone: "Europe/Berlin".to_owned(),
            week_start: WeekStart::Monday,
        };
        self.append(
            AS_TODAY,
            family_stream(self.family),
            1,
            LedgerEvent::Family(created.into()),
        )
        .await;
        let opened = AccountOpened {
            account_id,
            name: "Giro".to_owned(),
            kind: AccountKind::Bank,
            currency: euros(),
            owner: None,
            opening_balance: None,
        };
        let stream = StreamId {
            kind: "ledger-account",
            id: account_id.uuid(),
        };
        self.append(AS_TODAY, stream, 1, LedgerEvent::LedgerAccount(opened.into()))
            .await;
        let added = CategoryAdded {
            category_id,
            name: "Groceries".to_owned(),
            kind: CategoryKind::Expense,
        };
        let stream = StreamId {
            kind: "category",
            id: category_id.uuid(),
        };
        self.append(AS_TODAY, stream, 1, LedgerEvent::Category(added.into()))
            .await;
        let imported = StatementImported {
            import_id: import_id(),
            connection_id: ConnectionId::of_account(account_id),
            source: "ofx".to_owned(),
            file_sha256: "ab".to_owned(),
            ledger_before: None,
            ledger_after: None,
        };
        let stream = StreamId {
            kind: "statement-import",
            id: import_id().uuid(),
        };
        self.append(AS_TODAY, stream, 1, LedgerEvent::StatementImport(imported.into()))
            .await;
        for number in 0..ROWS {
            let amount = Money::parse(&format!("-{}.50", number + 1), euros()).unwrap();
            let booked = BankTransactionBooked {
                entry_id: entry_id(number),
                account_id,
                owner: None,
                import_id: import_id(),
                booked_on: day(),
                value_on: None,
                amount,
                postings: vec![
                    Posting::account(account_id, amount),
                    Posting::category(category_id, amount.negated()),
                ],
                counterparty: String::new(),
                remittance: String::new(),
                reference: None,
            };
            let stream = StreamId {
                kind: "entry",
                id: entry_id(number).uuid(),
            };
            self.append(AS_TODAY, stream, 1, LedgerEvent::Entry(EntryEvent::from(booked)))
                .await;
        }
    }

    async fn append(&mut self, writer: &'static [StillWritten], stream: StreamId, sequence: i64, event: LedgerEvent) {
        let new = AppendEvent {
            stream,
            sequence,
            event,
            effective_on: day(),
        };
        let command = AppendCommand {
            family_id: self.family,
            command_id: CommandId::from_uuid(Uuid::new_v4()),
            request_hash: [9; 32],
            expected_family_seq: self.head,
            expected_chain_hash: None,
            creates_family: self.head == 0,
            metadata: "{}".to_owned(),
            events: vec![new],
            claims: Vec::new(),
        };
        let log = self.log().still_writing(writer);
        let verdicts = log.append(LANE, &[command]).await.unwrap();
        assert!(matches!(verdicts[..], [Verdict::Ok(_)]), "{verdicts:?}");
        self.head += 1;
    }

    fn log(&self) -> Log {
        self.fixture.log.clone()
    }

    async fn records(&self) -> Vec<Record> {
        self.fixture.whole.read_lane(LANE, 0, 1_000).await.unwrap()
    }

    /// The versions the listings are stored in.
    async fn versions(&self) -> Vec<String> {
        let records = self.records().await.into_iter();
        let listings = records.filter(|record| record.event_type == "StatementEntriesListed");
        listings.map(|record| record.event_version).collect()
    }

    async fn book(&self) -> Value {
        let replayed = replay(&self.log(), LANE, self.family, AsOf::default(), true, |_| ())
            .await
            .unwrap();
        let rows = json!(replayed.statement.rows);
        assert_eq!(rows["imports"][0]["entries"], json!(ROWS), "{rows}");
        rows
    }

    async fn exported(&self, name: &str) -> String {
        let (sender, mut chunks) = mpsc::channel::<Chunk>(1);
        let collect = async {
            let mut text = String::new();
            while let Some(chunk) = chunks.recv().await {
                text.push_str(&chunk.text);
            }
            text
        };
        let log = self.log();
        let exporting = export(&log, LANE, self.family, format(name).unwrap(), AsOf::default(), sender);
        let (exported, text) = tokio::join!(exporting, collect);
        exported.unwrap();
        text
    }
}

/// A journal without instants and chain hash, which two logs never share.
fn timeless(journal: &str) -> String {
    let words = journal.split_inclusive([' ', '\n']);
    let is_shared = |word: &&str| !word.starts_with("recorded-at:") && word.trim_end().len() != 64;
    words.filter(is_shared).collect()
}

fn versions(of: [&str; ROWS as usize]) -> Vec<String> {
    of.iter().map(|version| (*version).to_owned()).collect()
}

fn decoded(records: &[Record]) -> Vec<LedgerEvent> {
    records.iter().map(|record| record.decode().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_old_new_and_mixed_versions_reads_the_same_on_every_path() {
    let old = Written::by(|_| AS_BEFORE).await;
    let mixed = Written::by(|number| if number % 3 == 0 { AS_TODAY } else { AS_BEFORE }).await;
    let new = Written::by(|_| AS_TODAY).await;
    assert_eq!(old.versions().await, versions(["1"; ROWS as usize]));
    assert_eq!(
        mixed.versions().await,
        versions(["2", "1", "1", "2", "1", "1", "2", "1"])
    );
    assert_eq!(new.versions().await, versions(["2"; ROWS as usize]));

    let expected = decoded(&new.records().await);
    let book = new.book().await;
    let stream = StreamId {
        kind: "statement-import",
        id: import_id().uuid(),
    };
    let hledger = timeless(&new.exported("hledger").await);
    assert!(hledger.contains("-8.50 EUR"), "{hledger}");
    for written in [&old, &mixed, &new] {
        let log = written.log();
        let records = written.records().await;
        // The stored bytes are what was written, and what the chain is over.
        let verified = verify_family(&log, LANE, written.family, |_| ()).await.unwrap();
        assert_eq!(verified.events, written.head);

        // The lane and the feed from Postgres.
        assert_eq!(decoded(&records), expected);
        let fed = PostgresFeed::new(written.fixture.whole.clone())
            .next(LANE, 0, 1_000, Duration::ZERO)
            .await
            .unwrap();
        assert_eq!(fed, records);

        // Loading for a decision: the folded state.
        let loaded = log.load(LANE, written.family, &[stream]).await.unwrap();
        let (_, state, sequence) = &loaded.streams[0];
        let domain::aggregate::AggregateState::StatementImport(import) = state else {
            panic!("{state:?}")
        };
        assert_eq!(
            import.booked().collect::<Vec<_>>(),
            (0..ROWS).map(entry_id).collect::<Vec<_>>()
        );
        assert_eq!(*sequence, 9);

        // Through cqrs-es, by our store and by postgres-es' own reader.
        let ours = LedgerStore::<StatementImport>::new(log.clone(), LANE, written.family);
        let repository = PostgresEventRepository::new(written.fixture.whole.pool().clone())
            .with_tables("log.events", "log.snapshots");
        let theirs = PersistedEventStore::<_, StatementImport>::new_event_store(repository)
            .with_upcasters(vec![Box::new(LedgerUpcaster)]);
        let aggregate_id = import_id().uuid().to_string();
        let our_events = ours.load_events(&aggregate_id).await.unwrap();
        let their_events = theirs.load_events(&aggregate_id).await.unwrap();
        assert_eq!(our_events.len(), 9);
        for (ours, theirs) in our_events.iter().zip(&their_events) {
            assert_eq!((&ours.payload, ours.sequence), (&theirs.payload, theirs.sequence));
        }
        let mut folded = theirs.load_aggregate(&aggregate_id).await.unwrap();
        assert_eq!(folded.aggregate(), import.as_ref());

        // The book, and what is made of it.
        assert_eq!(written.book().await, book);
        assert_eq!(timeless(&written.exported("hledger").await), hledger);
        let lines = written.exported("ndjson").await;
        for record in &records {
            assert!(
                lines.contains(
                    &record
                        .leaf_hash
                        .iter()
                        .map(|byte| format!("{byte:02x}"))
                        .collect::<String>()
                )
            );
        }
    }
    for written in [old, mixed, new] {
        written.fixture.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_carries_every_version_as_it_was_written_and_it_reads_the_same() {
    let mixed = Written::by(|number| if number % 2 == 0 { AS_TODAY } else { AS_BEFORE }).await;
    let records = mixed.records().await;
    let relay = RunningRelay::start(&mixed.fixture).await;
    relay.is_ready().await;
    let mut feed = KafkaFeed::new(&brokers(), &relay.topic);
    let mut fed = Vec::new();
    while fed.len() < records.len() {
        let after = i64::try_from(fed.len()).unwrap();
        let page = feed.next(LANE, after, 100, Duration::from_secs(30)).await.unwrap();
        assert!(!page.is_empty(), "the feed ended at {after}");
        fed.extend(page);
    }
    assert_eq!(fed, records, "bytes and versions as stored");
    let new = Written::by(|_| AS_TODAY).await;
    mixed.fixture.log.open(&mut fed).await.unwrap();
    assert_eq!(decoded(&fed), decoded(&new.records().await));
    relay.stop().await.unwrap();
    mixed.fixture.end().await;
    new.fixture.end().await;
}

/// A release that came later has written to the log, and then this one was put back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_of_tomorrow_is_refused_on_every_path_and_its_bytes_stay_verifiable() {
    let mut written = Written::by(|number| if number == 5 { AS_TOMORROW } else { AS_TODAY }).await;
    let import = StreamId {
        kind: "statement-import",
        id: import_id().uuid(),
    };
    let undone = StatementImportUndone { import_id: import_id() };
    written
        .append(AS_TODAY, import, 10, LedgerEvent::StatementImport(undone.into()))
        .await;
    let log = written.log();
    let unknown =
        |cause: &DecodeError| matches!(cause, DecodeError::Unknown { event_version, .. } if event_version == "3");

    let loaded = log.load(LANE, written.family, &[import]).await;
    assert!(
        matches!(&loaded, Err(LogError::Decode { family_seq: 18, cause, .. }) if unknown(cause)),
        "{loaded:?}"
    );
    let replayed = replay(&log, LANE, written.family, AsOf::default(), false, |_| ())
        .await
        .map(|_| ());
    assert!(
        matches!(&replayed, Err(ReplayError::Decode { family_seq: 18, cause }) if unknown(cause)),
        "{replayed:?}"
    );
    let (sender, mut chunks) = mpsc::channel::<Chunk>(100);
    let exported = export(
        &log,
        LANE,
        written.family,
        format("hledger").unwrap(),
        AsOf::default(),
        sender,
    )
    .await;
    assert!(exported.is_err(), "no half of a journal is called whole");
    while chunks.recv().await.is_some() {}
    let store = LedgerStore::<StatementImport>::new(log.clone(), LANE, written.family);
    assert!(store.load_aggregate(&import_id().uuid().to_string()).await.is_err());
    let mut records = PostgresFeed::new(written.fixture.whole.clone())
        .next(LANE, 0, 1_000, Duration::ZERO)
        .await
        .unwrap();
    log.open(&mut records).await.unwrap();
    let refused: Vec<_> = records
        .iter()
        .filter(|record| record.decode().is_err())
        .map(|record| record.family_seq)
        .collect();
    assert_eq!(refused, [18], "the feed hands it on, and only it does not read");

    // Nobody has to understand it to know that it was not altered; and what does not touch it goes on.
    let verified = verify_family(&log, LANE, written.family, |_| ()).await.unwrap();
    assert_eq!(verified.events, 21);
    let family_alone = log.load(LANE, written.family, &[family_stream(written.family)]).await;
    assert!(family_alone.is_ok(), "{family_alone:?}");
    written.fixture.end().await;
}
