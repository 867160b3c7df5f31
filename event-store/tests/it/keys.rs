//! Personal texts are sealed in the log, and opened again by whoever has the keys.

use domain::{
    aggregate::LedgerEvent,
    entry::{EntryEvent, EntryReversed, ExpenseAdded},
    family::{Family, FamilyCreated, FamilyEvent},
    id::{CommandId, EntryId, FamilyId, MemberId},
    stream::StreamId,
};
use event_store::{
    AppendCommand, AppendEvent, Log, LogError,
    feed::{Feed, KafkaFeed},
    keys::{
        KeysError,
        encryption::{KeyEncryption, KeyEncryptions, LocalKey},
        erase::destroy_keys,
        rotate::rotate,
    },
    verify::verify_family,
};
use service_kit::database::DatabaseRole;
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

use crate::{
    relay::{RunningRelay, brokers},
    support::{Fixture, LANE, command, day, family, family_stream},
};

const MARK: &str = "zw5canary";

fn member(number: u128) -> MemberId {
    MemberId::from_uuid(Uuid::from_u128(0xA000 + number))
}

/// A command on the family's head, asked for by a member, with these events; each begins a stream of its own unless it is the
/// family's.
fn told(id: FamilyId, head: i64, by: Option<MemberId>, events: Vec<LedgerEvent>) -> AppendCommand {
    let metadata = match by {
        Some(member) => format!(r#"{{"member_id":"{member}","role":"parent","traceparent":"t"}}"#),
        None => r#"{"traceparent":"t"}"#.to_owned(),
    };
    let mut own = head;
    let events = events.into_iter().map(|event| {
        let is_family = event.aggregate_type() == "family";
        own += i64::from(is_family);
        AppendEvent {
            stream: match is_family {
                true => family_stream(id),
                false => StreamId {
                    kind: event.aggregate_type(),
                    id: Uuid::new_v4(),
                },
            },
            sequence: if is_family { own } else { 1 },
            event,
            effective_on: day(),
        }
    });
    AppendCommand {
        metadata,
        events: events.collect(),
        command_id: CommandId::from_uuid(Uuid::new_v4()),
        ..command(id, head, 0)
    }
}

fn founded(id: FamilyId) -> LedgerEvent {
    FamilyEvent::from(FamilyCreated {
        family_id: id,
        name: format!("{MARK} family"),
        currency: "EUR".parse().unwrap(),
        zone: "Europe/Berlin".to_owned(),
        week_start: domain::calendar::WeekStart::Monday,
    })
    .into()
}

fn joined(number: u128, name: &str) -> LedgerEvent {
    FamilyEvent::from(domain::family::MemberAdded {
        member_id: member(number),
        display_name: name.to_owned(),
        role: domain::actor::Role::Parent,
        on_leaderboard: false,
    })
    .into()
}

fn spent(by: Option<u128>, payee: &str, note: &str) -> LedgerEvent {
    EntryEvent::from(ExpenseAdded {
        entry_id: EntryId::from_uuid(Uuid::new_v4()),
        effective_on: day(),
        postings: Vec::new(),
        payee: payee.to_owned(),
        note: note.to_owned(),
        entered_by: by.map(member),
    })
    .into()
}

fn reversed(reason: &str) -> LedgerEvent {
    EntryEvent::from(EntryReversed {
        entry_id: EntryId::from_uuid(Uuid::new_v4()),
        postings: Vec::new(),
        reason: reason.to_owned(),
    })
    .into()
}

/// A family of two, with a text of each, one of the actor's, and one of the family's.
async fn household(fixture: &Fixture, id: FamilyId) -> Vec<LedgerEvent> {
    let events = vec![
        founded(id),
        joined(1, &format!("{MARK} Ada")),
        joined(2, &format!("{MARK} Ben")),
        spent(
            Some(1),
            &format!("{MARK} baker"),
            &format!("{MARK} \"rolls\"\\ \u{1F950}"),
        ),
        spent(Some(2), "", &format!("{MARK} sweets")),
        reversed(&format!("{MARK} twice")),
    ];
    fixture.append(told(id, 0, Some(member(2)), events.clone())).await;
    events
}

async fn read(log: &Log, id: FamilyId) -> Vec<LedgerEvent> {
    let records = log.read_family(LANE, id, 0, 100).await.unwrap();
    records.iter().map(|record| record.decode().unwrap()).collect()
}

async fn stored(fixture: &Fixture) -> String {
    let superuser = fixture.database.superuser().await;
    let payloads: Vec<String> =
        sqlx::query_scalar("select payload::text || metadata::text from log.events order by position")
            .fetch_all(&superuser)
            .await
            .unwrap();
    superuser.close().await;
    payloads.join("\n")
}

fn text_of(event: &LedgerEvent) -> Vec<String> {
    let mut texts = Vec::new();
    event
        .clone()
        .visit_personal(&mut |personal| texts.push(personal.text.clone()));
    texts
}

#[tokio::test]
async fn the_log_holds_no_readable_text_and_gives_every_one_back() {
    let fixture = Fixture::new().await;
    let id = family(1);
    let events = household(&fixture, id).await;
    let stored = stored(&fixture).await;
    assert!(!stored.contains(MARK), "{stored}");
    assert_eq!(
        stored.matches("sealed:1:").count(),
        7,
        "each text that says something is sealed: {stored}"
    );
    for subject in [id.uuid(), member(1).uuid(), member(2).uuid()] {
        assert!(stored.contains(&format!("sealed:1:{subject}:1:")), "{subject} {stored}");
    }
    assert_eq!(read(&fixture.log, id).await, events);
    assert_eq!(
        read(&fixture.instance(), id).await,
        events,
        "another process, with nothing in memory"
    );
    let projector = Log::new(fixture.database.pool(DatabaseRole::Projector).await, [7; 32]);
    assert_eq!(read(&projector, id).await, events);
    verify_family(&fixture.log, LANE, id, |_| ()).await.unwrap();

    let loaded = fixture.instance().load(LANE, id, &[family_stream(id)]).await.unwrap();
    let state = <Family as domain::aggregate::Stored>::from_state(&loaded.streams[0].1).unwrap();
    assert_eq!(state.member(member(1)).unwrap().display_name, format!("{MARK} Ada"));
    fixture.end().await;
}

#[tokio::test]
async fn a_text_that_looks_like_an_envelope_is_a_text() {
    let fixture = Fixture::new().await;
    household(&fixture, family(1)).await;
    let superuser = fixture.database.superuser().await;
    let envelope: String = sqlx::query_scalar(
        "select payload ->> 'display_name' from log.events where event_type = 'MemberAdded' order by position limit 1",
    )
    .fetch_one(&superuser)
    .await
    .unwrap();
    assert!(envelope.starts_with("sealed:1:"));
    for (number, text) in [&envelope, "sealed:", "sealed:1:nobody:1:AAAA", "erased"]
        .into_iter()
        .enumerate()
    {
        let family_id = FamilyId::from_uuid(Uuid::from_u128(0xE000 + number as u128));
        fixture
            .append(told(family_id, 0, None, vec![spent(None, text, "")]))
            .await;
        assert_eq!(text_of(&read(&fixture.instance(), family_id).await[0]), [text, ""]);
    }
    superuser.close().await;
    fixture.end().await;
}

#[tokio::test]
async fn events_from_before_texts_were_sealed_are_read_as_they_are() {
    let fixture = Fixture::new().await;
    let id = family(1);
    let events = household(&fixture, id).await;
    // As an earlier release stored them; the hashes of that are not asked here.
    let superuser = fixture.database.superuser().await;
    sqlx::query("set session_replication_role = replica")
        .execute(&superuser)
        .await
        .unwrap();
    let mut connection = superuser.acquire().await.unwrap();
    sqlx::query("set session_replication_role = replica")
        .execute(&mut *connection)
        .await
        .unwrap();
    for (family_seq, event) in (1_i64..).zip(&events) {
        sqlx::query("update log.events set payload = $2::json where family_seq = $1")
            .bind(family_seq)
            .bind(event.encode())
            .execute(&mut *connection)
            .await
            .unwrap();
    }
    drop(connection);
    assert_eq!(read(&fixture.instance(), id).await, events);
    superuser.close().await;
    fixture.end().await;
}

#[tokio::test]
async fn a_destroyed_key_gives_markers_and_nothing_else_changes() {
    let fixture = Fixture::new().await;
    let id = family(1);
    let events = household(&fixture, id).await;
    let before = fixture.log.read_family(LANE, id, 0, 100).await.unwrap();
    let destroyed = destroy_keys(fixture.log.pool(), id, &[member(2).uuid()]).await.unwrap();
    assert_eq!(destroyed, 1);
    assert_eq!(
        destroy_keys(fixture.log.pool(), id, &[member(2).uuid()]).await.unwrap(),
        0,
        "again is harmless"
    );

    let after = read(&fixture.instance(), id).await;
    let texts: Vec<Vec<String>> = after.iter().map(text_of).collect();
    assert_eq!(texts[2], ["erased member"]);
    assert_eq!(texts[4], ["", "erased"]);
    assert_eq!(texts[5], ["erased"], "what the actor typed goes with the actor");
    for kept in [0, 1, 3] {
        assert_eq!(after[kept], events[kept]);
    }
    let records = fixture.instance().read_family(LANE, id, 0, 100).await.unwrap();
    assert_eq!(records, before, "not a stored byte has changed");
    verify_family(&fixture.log, LANE, id, |_| ()).await.unwrap();

    // The process that had the key in memory forgets it within its time.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while text_of(&read(&fixture.log, id).await[2]) != ["erased member"] {
        assert!(std::time::Instant::now() < deadline, "a destroyed key is still used");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // And no key comes back: what is about an erased member is the family's from now on.
    fixture
        .append(told(id, 6, None, vec![spent(Some(2), "", "left over")]))
        .await;
    assert_eq!(text_of(&read(&fixture.instance(), id).await[6]), ["", "left over"]);
    let revived = sqlx::query(
        "update keys.member_keys set erased_at = null, wrapped_key = $1, kek_id = 'x' where subject_id = $2",
    )
    .bind(vec![0_u8; 60])
    .bind(member(2).uuid())
    .execute(fixture.log.pool())
    .await;
    assert!(revived.unwrap_err().to_string().contains("destroyed for good"));
    fixture.end().await;
}

#[tokio::test]
async fn a_missing_key_is_told_from_a_destroyed_one_and_spoils_its_own_events_only() {
    let fixture = Fixture::new().await;
    let (id, other) = (family(1), family(2));
    let events = household(&fixture, id).await;
    fixture
        .append(told(other, 0, None, vec![spent(None, "Grocer", "")]))
        .await;
    let superuser = fixture.database.superuser().await;
    let lost = sqlx::query("delete from keys.member_keys where subject_id = $1").bind(member(1).uuid());
    assert_eq!(lost.execute(&superuser).await.unwrap().rows_affected(), 1);
    superuser.close().await;

    let records = fixture.whole.read_lane(LANE, 0, 100).await.unwrap();
    let read: Vec<_> = records
        .iter()
        .map(|record| record.decode().map_err(|error| error.to_string()))
        .collect();
    for (number, (read, event)) in read.iter().zip(&events).enumerate() {
        if [1, 3].contains(&number) {
            let error = read.as_ref().unwrap_err();
            assert!(
                error.contains(&format!("the key of {} is missing", member(1).uuid())),
                "{error}"
            );
            assert!(!error.contains(MARK));
        } else {
            assert_eq!(read.as_ref(), Ok(event));
        }
    }
    assert_eq!(text_of(read[6].as_ref().unwrap()), ["Grocer", ""]);
    let error = fixture
        .instance()
        .load(LANE, id, &[family_stream(id)])
        .await
        .unwrap_err();
    assert!(matches!(error, LogError::Decode { family_seq: 2, .. }), "{error:?}");
    fixture.end().await;
}

#[tokio::test]
async fn a_moved_or_altered_envelope_does_not_open() {
    let fixture = Fixture::new().await;
    let id = family(1);
    household(&fixture, id).await;
    let mut records = fixture.instance().read_family(LANE, id, 0, 100).await.unwrap();
    let (ada, ben) = (records[1].payload.clone(), records[2].payload.clone());
    let envelope = |payload: &str| {
        payload
            .split('"')
            .find(|part| part.starts_with("sealed:1:"))
            .unwrap()
            .to_owned()
    };
    records[1].payload = ada.replace(&envelope(&ada), &envelope(&ben));
    records[1].opened = event_store::Opened::default();
    fixture.log.open(&mut records).await.unwrap();
    let error = records[1].decode().unwrap_err().to_string();
    assert!(error.contains("display_name was not sealed here"), "{error}");
    // And what nobody has opened is not taken for a text.
    records[2].opened = event_store::Opened::default();
    assert!(
        records[2]
            .decode()
            .unwrap_err()
            .to_string()
            .contains("nobody has opened it")
    );
    fixture.end().await;
}

#[tokio::test]
async fn another_key_encryption_key_is_refused_with_what_to_do() {
    let fixture = Fixture::new().await;
    let id = family(1);
    household(&fixture, id).await;
    fixture.log.check_keys().await.unwrap();
    let stranger = fixture.instance().encrypting_with(KeyEncryptions::local(&[3; 32]));
    let error = stranger.check_keys().await.unwrap_err();
    assert!(matches!(error, KeysError::Other { .. }));
    let words = error.to_string();
    assert!(
        words.contains("the same secret or key file as before") && words.contains("keys rotate"),
        "{words}"
    );
    // It is an error of the whole reading, so that nothing is taken for erased or damaged.
    let error = stranger.read_family(LANE, id, 0, 100).await.unwrap_err();
    assert!(matches!(error, LogError::Keys(KeysError::Other { .. })) && error.is_unavailable());
    assert!(stranger.load(LANE, id, &[family_stream(id)]).await.is_err());
    fixture.end().await;
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_never_taken_for_erasure() {
    let fixture = Fixture::new().await;
    let id = family(1);
    household(&fixture, id).await;
    let pool = fixture.database.pool(DatabaseRole::Writer).await;
    let log = Log::new(pool.clone(), [7; 32]);
    let mut records = fixture.instance().read_family(LANE, id, 0, 100).await.unwrap();
    for record in &mut records {
        record.opened = event_store::Opened::default();
    }
    pool.close().await;
    let error = log.open(&mut records).await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    assert!(records.iter().all(|record| !record.opened.is_opened()));
    fixture.end().await;
}

#[tokio::test]
async fn rotation_wraps_every_key_anew_while_families_are_written_to() {
    let fixture = Fixture::new().await;
    let old: Arc<dyn KeyEncryption> = Arc::new(LocalKey::new(&[1; 32]));
    let new = KeyEncryptions::local(&[2; 32]);
    let both = new.clone().and_old(Arc::clone(&old));
    let before = fixture
        .instance()
        .encrypting_with(KeyEncryptions::new(Arc::clone(&old)));
    for number in 0..40 {
        let id = family(number);
        let events = (0..30)
            .map(|member| joined(member, &format!("{MARK} {member}")))
            .collect();
        before.append(LANE, &[told(id, 0, None, events)]).await.unwrap();
    }
    assert!(matches!(
        rotate(fixture.log.pool(), &new, |_| ()).await,
        Err(KeysError::Other { .. })
    ));

    let during = fixture.instance().encrypting_with(both.clone());
    let writing = async {
        for number in 100..140 {
            let id = family(number);
            let events = vec![joined(1, "Ada"), spent(Some(1), "Baker", "")];
            during.append(LANE, &[told(id, 0, None, events.clone())]).await.unwrap();
            assert_eq!(read(&during, id).await, events);
            read(&during, family(number % 40)).await;
        }
    };
    let (rotated, ()) = tokio::join!(rotate(fixture.log.pool(), &both, |_| ()), writing);
    assert_eq!(rotated.unwrap().rewrapped, 40 * 30);
    assert_eq!(rotate(fixture.log.pool(), &both, |_| ()).await.unwrap().rewrapped, 0);

    let after = fixture.instance().encrypting_with(new);
    after.check_keys().await.unwrap();
    for number in 0..40 {
        assert_eq!(read(&after, family(number)).await.len(), 30);
    }
    assert!(before.check_keys().await.is_err(), "the old key opens nothing any more");
    fixture.end().await;
}

#[tokio::test]
async fn only_who_opens_events_may_read_keys() {
    let fixture = Fixture::new().await;
    household(&fixture, family(1)).await;
    for role in [DatabaseRole::Reader, DatabaseRole::Relay, DatabaseRole::Sealer] {
        let pool = fixture.database.pool(role).await;
        let error = sqlx::query("select from keys.member_keys")
            .fetch_all(&pool)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("permission denied"), "{role:?}: {error}");
        pool.close().await;
    }
    let pool = fixture.database.pool(DatabaseRole::Replayer).await;
    let seen: i64 = sqlx::query_scalar("select count(*) from keys.member_keys")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(
        seen, 0,
        "a replay sees the keys of the family it names, and it named none"
    );
    pool.close().await;
    fixture.end().await;
}

/// A dump of the database, as text; `arguments` say what it leaves out.
fn dumped(fixture: &Fixture, arguments: &[&str]) -> String {
    let url = fixture.database.url();
    let dump = std::process::Command::new("pg_dump").args(arguments).arg(url).output();
    let dump = dump.expect("pg_dump is there, for it comes with Postgres");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    String::from_utf8_lossy(&dump.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_without_keys_and_the_topic_hold_no_readable_text() {
    let fixture = Fixture::new().await;
    let id = family(1);
    household(&fixture, id).await;
    let backup = dumped(&fixture, &["--exclude-schema=keys", "--exclude-schema=views*"]);
    assert!(backup.contains("sealed:1:") && backup.contains(&id.uuid().to_string()));
    assert_eq!(backup.matches(MARK).count(), 0);
    // And the keys alone are of no use without the key-encryption key: they are not in the dump as they are.
    let keys = dumped(&fixture, &["--schema=keys"]);
    assert!(keys.contains("local-") && !keys.contains(MARK));

    let relay = RunningRelay::start(&fixture).await;
    relay.is_ready().await;
    let mut feed = KafkaFeed::new(&brokers(), &relay.topic);
    let mut fed = feed.next(LANE, 0, 100, Duration::from_secs(30)).await.unwrap();
    while fed.len() < 6 {
        let after = fed.last().map_or(0, |last| last.position);
        let page = feed.next(LANE, after, 100, Duration::from_secs(30)).await.unwrap();
        assert!(!page.is_empty());
        fed.extend(page);
    }
    assert!(
        fed.iter().all(|record| !format!("{record:?}").contains(MARK)),
        "what Kafka carries"
    );
    fixture.log.open(&mut fed).await.unwrap();
    let opened: Vec<LedgerEvent> = fed.iter().map(|record| record.decode().unwrap()).collect();
    assert_eq!(opened, read(&fixture.log, id).await);
    assert!(
        fed.iter().all(|record| !format!("{record:?}").contains(MARK)),
        "what a log line could show"
    );
    relay.stop().await.unwrap();
    fixture.end().await;
}

fn erasing(number: u128) -> LedgerEvent {
    let member_id = member(number);
    FamilyEvent::from(domain::family::MemberErased { member_id }).into()
}

async fn living_keys(fixture: &Fixture) -> Vec<Uuid> {
    let superuser = fixture.database.superuser().await;
    let living = "select subject_id from keys.member_keys where erased_at is null order by subject_id";
    let living = sqlx::query_scalar(living).fetch_all(&superuser).await.unwrap();
    superuser.close().await;
    living
}

#[tokio::test]
async fn an_erasure_destroys_the_key_in_the_transaction_that_records_it() {
    let fixture = Fixture::new().await;
    let (id, other) = (family(1), family(2));
    household(&fixture, id).await;
    household(&fixture, other).await;
    let all = living_keys(&fixture).await;
    // The family's, Ada's and Ben's, in each family.
    assert_eq!(all.len(), 6);

    // One that is not recorded destroys nothing: decided on a head that is none any more, or rolled back by a crash.
    let late = told(id, 5, None, vec![erasing(2)]);
    let verdicts = fixture.log.append(LANE, &[late]).await.unwrap();
    assert_eq!(verdicts, [event_store::Verdict::Conflict]);
    assert_eq!(living_keys(&fixture).await, all);
    let superuser = fixture.database.superuser().await;
    let mut crashing = superuser.begin().await.unwrap();
    let payload = erasing(2).encode();
    let verdict = crate::support::append_by_hand(&mut *crashing, id, 6, ("MemberErased", "1", &payload)).await;
    assert_eq!(verdict, "ok");
    crashing.rollback().await.unwrap();
    superuser.close().await;
    assert_eq!(living_keys(&fixture).await, all);

    fixture.append(told(id, 6, None, vec![erasing(2), erasing(3)])).await;
    let gone: Vec<Uuid> = all.iter().copied().filter(|key| *key == member(2).uuid()).collect();
    assert_eq!(gone.len(), 2, "a person is another subject in every family");
    assert_eq!(living_keys(&fixture).await.len(), 5);
    let texts: Vec<Vec<String>> = read(&fixture.instance(), id).await.iter().map(text_of).collect();
    assert_eq!(
        (&texts[1], &texts[2]),
        (&vec![format!("{MARK} Ada")], &vec!["erased member".to_owned()])
    );
    assert_eq!(
        text_of(&read(&fixture.instance(), other).await[2]),
        [format!("{MARK} Ben")]
    );
    // Who had no key gets none.
    fixture
        .append(told(id, 8, Some(member(3)), vec![reversed("of nobody")]))
        .await;
    assert_eq!(living_keys(&fixture).await.len(), 5);
    verify_family(&fixture.log, LANE, id, |_| ()).await.unwrap();
    fixture.end().await;
}

#[tokio::test]
async fn a_deleted_family_has_no_key_left_and_its_chain_verifies() {
    let fixture = Fixture::new().await;
    let (id, other) = (family(1), family(2));
    household(&fixture, id).await;
    household(&fixture, other).await;
    let deleted = FamilyEvent::from(domain::family::FamilyDeleted { family_id: id });
    fixture.append(told(id, 6, None, vec![deleted.into()])).await;
    assert_eq!(living_keys(&fixture).await.len(), 3, "those of the other family");
    let texts: Vec<String> = read(&fixture.instance(), id).await.iter().flat_map(text_of).collect();
    assert!(texts.iter().all(|text| !text.contains(MARK)), "{texts:?}");
    assert_eq!(
        text_of(&read(&fixture.instance(), other).await[2]),
        [format!("{MARK} Ben")]
    );
    verify_family(&fixture.log, LANE, id, |_| ()).await.unwrap();
    fixture.end().await;
}
