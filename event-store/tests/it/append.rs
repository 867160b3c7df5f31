//! Verdicts: what a batch does to each of its commands.

use domain::{decide::Claim, family::FamilyRefusal, stream::StreamId};
use event_store::{AppendCommand, FamilyHead, Lane, LogError, StoredCommand, Verdict};

use crate::support::{Fixture, LANE, append_by_hand, command, family, family_stream, ok};

fn claim(value: &str) -> Claim {
    Claim {
        scope: "account-name",
        value: value.to_owned(),
        taken: FamilyRefusal::UnknownFamily.into(),
    }
}

#[tokio::test]
async fn events_get_their_numbers_and_read_back_as_they_were() {
    let fixture = Fixture::new().await;
    let (first, second) = (command(family(1), 0, 2), command(family(1), 2, 1));
    let other = command(family(2), 0, 1);
    let verdicts = fixture.verdicts(&[first.clone(), second.clone(), other.clone()]).await;
    let [first_appended, second_appended, other_appended] = [0, 1, 2].map(|index| ok(&verdicts[index]));
    assert_eq!(
        (first_appended.first_family_seq, first_appended.last_family_seq),
        (1, 2)
    );
    assert_eq!(
        (second_appended.first_family_seq, second_appended.last_family_seq),
        (3, 3)
    );
    assert_eq!((other_appended.first_family_seq, other_appended.last_position), (1, 4));

    let records = fixture.whole.read_lane(LANE, 0, 100).await.unwrap();
    assert_eq!(records.iter().map(|r| r.position).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(records.iter().map(|r| r.family_seq).collect::<Vec<_>>(), [1, 2, 3, 1]);
    for (record, new) in records
        .iter()
        .zip([&first, &second, &other].into_iter().flat_map(|c| &c.events))
    {
        assert_eq!(record.opened_payload().unwrap(), new.event.encode());
        assert_eq!(record.decode().unwrap(), new.event);
        assert_eq!(record.metadata, first.metadata);
        assert_eq!(record.effective_on, new.effective_on);
    }
    assert_eq!(records[2].chain_hash, second_appended.chain_hash);
    assert_eq!(records[2].recorded_at, second_appended.recorded_at);
    assert_eq!(fixture.log.lane_of(family(1)).await.unwrap(), Some(LANE));
    assert_eq!(fixture.log.lane_of(family(3)).await.unwrap(), None);
    assert_eq!(fixture.whole.lane_head(LANE).await.unwrap(), 4);
    fixture.end().await;
}

#[tokio::test]
async fn a_load_gives_head_and_streams_of_one_moment() {
    let fixture = Fixture::new().await;
    let id = fixture.family_of(1, 3).await;
    let empty = StreamId {
        kind: "category",
        id: id.uuid(),
    };
    let loaded = fixture.log.load(LANE, id, &[empty, family_stream(id)]).await.unwrap();
    assert_eq!(loaded.head.family_seq, 3);
    let sequences: Vec<_> = loaded
        .streams
        .iter()
        .map(|(stream, _, sequence)| (*stream, *sequence))
        .collect();
    assert_eq!(sequences, [(empty, 0), (family_stream(id), 3)]);
    let records = fixture.log.read_family(LANE, id, 0, 10).await.unwrap();
    assert_eq!(loaded.head.chain_hash, records[2].chain_hash);
    let summaries = fixture.log.events_between(LANE, id, 2, 3).await.unwrap();
    assert_eq!(summaries.iter().map(|s| s.family_seq).collect::<Vec<_>>(), [2, 3]);
    fixture.end().await;
}

#[tokio::test]
async fn a_command_without_events_is_stored_and_its_repeat_is_a_duplicate() {
    let fixture = Fixture::new().await;
    let id = fixture.family_of(1, 2).await;
    let quiet = command(id, 2, 0);
    let appended = fixture.append(quiet.clone()).await;
    assert_eq!(
        (
            appended.first_family_seq,
            appended.last_family_seq,
            appended.last_position
        ),
        (3, 2, 2)
    );
    assert!(matches!(&fixture.verdicts(&[quiet]).await[0], Verdict::Duplicate(stored) if stored.last_family_seq == 2));
    fixture.end().await;
}

#[tokio::test]
async fn a_repeated_command_gets_its_first_result_with_the_first_request() {
    let fixture = Fixture::new().await;
    let first = command(family(1), 0, 2);
    let appended = fixture.append(first.clone()).await;
    let expected = StoredCommand {
        request_hash: [9; 32],
        first_family_seq: 1,
        last_family_seq: 2,
        last_position: 2,
        recorded_at: appended.recorded_at,
    };
    // Another body under the same key: the caller sees it by the hash of the first request.
    let mut reused = command(family(1), 2, 1);
    reused.command_id = first.command_id;
    reused.request_hash = [1; 32];
    for repeat in [first.clone(), reused] {
        assert_eq!(
            fixture.verdicts(&[repeat]).await,
            [Verdict::Duplicate(expected.clone())]
        );
    }
    assert_eq!(
        fixture.log.command(LANE, family(1), first.command_id).await.unwrap(),
        Some(expected)
    );
    assert_eq!(fixture.whole.lane_head(LANE).await.unwrap(), 2);
    fixture.end().await;
}

#[tokio::test]
async fn a_command_twice_in_one_batch_is_recorded_once() {
    let fixture = Fixture::new().await;
    let first = command(family(1), 0, 2);
    let mut again = command(family(1), 2, 1);
    again.command_id = first.command_id;
    let verdicts = fixture.verdicts(&[first, again, command(family(2), 0, 1)]).await;
    ok(&verdicts[0]);
    assert!(
        matches!(&verdicts[1], Verdict::Duplicate(stored) if stored.last_family_seq == 2 && stored.last_position == 2)
    );
    assert_eq!(ok(&verdicts[2]).last_position, 3);
    fixture.end().await;
}

#[tokio::test]
async fn the_same_command_id_in_two_families_is_two_commands() {
    let fixture = Fixture::new().await;
    let first = command(family(1), 0, 1);
    let mut other = command(family(2), 0, 1);
    other.command_id = first.command_id;
    for verdict in fixture.verdicts(&[first, other]).await {
        ok(&verdict);
    }
    fixture.end().await;
}

#[tokio::test]
async fn a_conflict_takes_the_rest_of_its_family_along_and_nobody_else() {
    let fixture = Fixture::new().await;
    let (one, two) = (fixture.family_of(1, 2).await, fixture.family_of(2, 2).await);
    // The second command names the head that the log has by chance: it was still decided on one that never was.
    let verdicts = fixture
        .verdicts(&[
            command(one, 1, 1),
            command(one, 2, 1),
            command(two, 2, 1),
            command(two, 3, 1),
        ])
        .await;
    assert_eq!(verdicts[..2], [Verdict::Conflict, Verdict::Conflict]);
    assert_eq!(ok(&verdicts[2]).last_family_seq, 3);
    assert_eq!(ok(&verdicts[3]).last_family_seq, 4);
    assert_eq!(fixture.whole.lane_head(LANE).await.unwrap(), 6);
    fixture.end().await;
}

#[tokio::test]
async fn a_claim_is_held_once_in_its_family() {
    let fixture = Fixture::new().await;
    let with_claim = |number, expected, value: &str| {
        let mut command = command(family(number), expected, 1);
        command.claims = vec![claim("other"), claim(value), claim(value)];
        command.claims[0].value = format!("other {expected}");
        command
    };
    let verdicts = fixture
        .verdicts(&[
            with_claim(1, 0, "giro"),
            with_claim(1, 1, "giro"),
            with_claim(2, 0, "giro"),
            with_claim(2, 1, "cash"),
        ])
        .await;
    ok(&verdicts[0]);
    assert_eq!(
        verdicts[1],
        Verdict::ClaimTaken {
            scope: "account-name".to_owned()
        }
    );
    ok(&verdicts[2]);
    ok(&verdicts[3]);
    let later = fixture
        .verdicts(&[with_claim(1, 1, "giro"), with_claim(2, 2, "cash")])
        .await;
    assert!(
        later
            .iter()
            .all(|verdict| matches!(verdict, Verdict::ClaimTaken { .. })),
        "{later:?}"
    );
    // What was not taken holds no claim.
    ok(&fixture.verdicts(&[with_claim(1, 1, "cash")]).await[0]);
    fixture.end().await;
}

#[tokio::test]
async fn a_family_is_created_once_and_stays_in_its_lane() {
    let fixture = Fixture::new().await;
    let stranger = command(family(9), 5, 1);
    let mut never_created = command(family(8), 0, 1);
    never_created.creates_family = false;
    let id = fixture.family_of(1, 1).await;
    let again = command(id, 0, 1);
    let verdicts = fixture.verdicts(&[stranger, never_created, again]).await;
    assert_eq!(verdicts, [Verdict::Conflict, Verdict::Conflict, Verdict::Conflict]);
    let elsewhere = fixture.log.append(Lane(1), &[command(id, 0, 1)]).await.unwrap();
    assert_eq!(elsewhere, [Verdict::Conflict]);
    fixture.end().await;
}

#[tokio::test]
async fn a_stream_of_another_family_is_refused_by_the_database_and_nothing_is_written() {
    let fixture = Fixture::new().await;
    let id = fixture.family_of(1, 1).await;
    let mut thief = command(family(2), 0, 1);
    thief.events[0].stream = family_stream(id);
    let error = fixture
        .log
        .append(LANE, &[command(family(3), 0, 1), thief])
        .await
        .unwrap_err();
    assert!(error.is_refused_by_database() && !error.is_unavailable(), "{error:?}");
    assert_eq!(fixture.whole.lane_head(LANE).await.unwrap(), 1);
    assert_eq!(fixture.log.lane_of(family(3)).await.unwrap(), None);
    fixture.end().await;
}

#[tokio::test]
async fn a_family_torn_apart_in_the_batch_is_put_together() {
    let fixture = Fixture::new().await;
    let batch = [
        command(family(1), 0, 1),
        command(family(2), 0, 1),
        command(family(1), 1, 2),
        command(family(2), 5, 1),
    ];
    let verdicts = fixture.verdicts(&batch).await;
    assert_eq!([0, 2, 1].map(|index| ok(&verdicts[index]).last_position), [1, 3, 4]);
    assert_eq!(ok(&verdicts[2]).last_family_seq, 3);
    assert_eq!(verdicts[3], Verdict::Conflict);
    fixture.end().await;
}

#[tokio::test]
async fn an_unknown_version_is_an_error_and_never_passed_over() {
    let fixture = Fixture::new().await;
    let id = fixture.family_of(1, 1).await;
    let newer = ("MemberAdded", "99", r#"{"type":"MemberAdded"}"#);
    assert_eq!(append_by_hand(fixture.log.pool(), id, 1, newer).await, "ok");
    let error = fixture.log.load(LANE, id, &[family_stream(id)]).await.unwrap_err();
    assert!(matches!(error, LogError::Decode { family_seq: 2, .. }), "{error:?}");
    assert!(
        fixture.log.read_family(LANE, id, 1, 1).await.unwrap()[0]
            .decode()
            .is_err()
    );
    fixture.end().await;
}

#[tokio::test]
async fn what_was_decided_on_another_history_of_the_same_length_is_a_conflict() {
    let fixture = Fixture::new().await;
    let head = fixture.append(command(family(1), 0, 3)).await;
    let on = |expected_chain_hash, expected: i64| AppendCommand {
        expected_chain_hash,
        ..command(family(1), expected, 1)
    };
    let elsewhere = Some([0xAB; 32]);
    // It, what follows it in its family, and nobody else.
    let batch = [on(elsewhere, 3), on(None, 4), command(family(2), 0, 1)];
    let verdicts = fixture.verdicts(&batch).await;
    assert_eq!(verdicts[..2], [Verdict::Conflict, Verdict::Conflict]);
    ok(&verdicts[2]);

    let taken = on(Some(head.chain_hash), 3);
    let verdicts = fixture.verdicts(&[taken.clone(), on(None, 4)]).await;
    let last = ok(&verdicts[1]);
    assert_eq!((ok(&verdicts[0]).last_family_seq, last.last_family_seq), (4, 5));

    // A repeat is one wherever it comes from.
    let repeat = AppendCommand {
        expected_chain_hash: elsewhere,
        ..taken
    };
    let verdicts = fixture.verdicts(&[repeat, on(None, 5)]).await;
    assert!(matches!(verdicts[0], Verdict::Duplicate(_)), "{:?}", verdicts[0]);

    // A family without events has a head too.
    let founding = AppendCommand {
        expected_chain_hash: elsewhere,
        ..command(family(3), 0, 1)
    };
    assert_eq!(
        fixture.verdicts(std::slice::from_ref(&founding)).await,
        [Verdict::Conflict]
    );
    let genesis = Some(FamilyHead::EMPTY.chain_hash);
    fixture
        .append(AppendCommand {
            expected_chain_hash: genesis,
            ..founding
        })
        .await;
    fixture.end().await;
}
