//! The hash chain: an intact history is found whole, and after any edit the first event that was touched is named.

use chrono::{DateTime, Days, NaiveDate};
use domain::id::{CommandId, FamilyId};
use event_store::{
    Lane, Record, chain,
    verify::{Chain, Fault},
};
use uuid::Uuid;

use crate::input::Input;

/// Events of one history.
const EVENTS_MAX: usize = 12;

/// The bytes choose a history, whose chain is made as the log makes it, and one edit.
pub fn chain_verify(data: &[u8]) {
    let mut input = Input::new(data);
    let history = history(&mut input);
    assert_eq!(first_bad(&history), None, "an intact history is whole");
    // Cut off behind any event, it is whole as far as it goes: where it must end, only somebody else can say.
    let cut = input.below(history.len()) + 1;
    assert_eq!(first_bad(&history[..cut]), None);

    let place = input.below(history.len());
    let mut edited = history.clone();
    match input.byte() % 16 {
        14 if place + 1 < edited.len() => edited.swap(place, place + 1),
        15 if place + 1 < edited.len() => drop(edited.remove(place)),
        13 => edited.insert(place, edited[place].clone()),
        kind => edit(&mut edited[place], kind, &mut input),
    }
    let expected = i64::try_from(place).expect("few events") + 1;
    match (edited == history, first_bad(&edited)) {
        (true, found) => assert_eq!(found, None),
        // A copy in front of itself is whole up to itself; the one behind it is the first that is wrong.
        (false, Some((bad, _))) if edited.len() > history.len() => assert_eq!(bad, expected + 1),
        (false, Some((bad, _))) => assert_eq!(bad, expected, "the first event that was touched is named"),
        (false, None) => panic!("an edited history was called whole"),
    }
    // Every hash made anew from the edit on: whole in itself, and with another head than the one kept elsewhere.
    if edited.len() == history.len() {
        rehash(&mut edited, place);
        if first_bad(&edited).is_none() && edited != history {
            assert_ne!(head(&edited), head(&history), "a forged tail cannot keep the head");
        }
    }
}

fn history(input: &mut Input<'_>) -> Vec<Record> {
    let count = input.below(EVENTS_MAX) + 1;
    let family_id = FamilyId::from_uuid(Uuid::from_bytes(input.array()));
    let mut position = 0;
    let mut at = 0;
    let mut records: Vec<Record> = (1..)
        .take(count)
        .map(|family_seq| {
            position += 1 + i64::from(input.byte());
            at += i64::from(input.byte());
            let length = usize::from(input.byte() % 24);
            Record {
                lane: Lane(i16::from(input.byte())),
                position,
                family_id,
                family_seq,
                aggregate_type: input.text(4),
                aggregate_id: Uuid::from_bytes(input.array()),
                sequence: i64::from_be_bytes(input.array()),
                event_type: input.text(6),
                event_version: input.text(1),
                payload: input.text(length),
                metadata: input.text(3),
                command_id: CommandId::from_uuid(Uuid::from_bytes(input.array())),
                effective_on: day(input),
                recorded_at: DateTime::from_timestamp_micros(at).expect("a few microseconds"),
                leaf_hash: [0; 32],
                chain_hash: [0; 32],
                opened: event_store::Opened::default(),
            }
        })
        .collect();
    rehash(&mut records, 0);
    records
}

fn day(input: &mut Input<'_>) -> NaiveDate {
    let days = u64::from(u16::from_be_bytes(input.array()));
    NaiveDate::from_ymd_opt(1970, 1, 1).expect("a day") + Days::new(days)
}

/// Makes the hashes as the log does, from an event on.
fn rehash(records: &mut [Record], from: usize) {
    let mut previous = from
        .checked_sub(1)
        .map_or(chain::GENESIS, |before| records[before].chain_hash);
    for record in &mut records[from..] {
        record.leaf_hash = chain::leaf_of(record);
        record.chain_hash = chain::chain(&previous, record.family_seq, record.recorded_at_us(), &record.leaf_hash);
        previous = record.chain_hash;
    }
}

/// Edits one hashed field. Lane and position are not hashed: the lane's own order holds them.
fn edit(record: &mut Record, kind: u8, input: &mut Input<'_>) {
    match kind % 13 {
        0 => record.family_id = FamilyId::from_uuid(Uuid::from_bytes(input.array())),
        1 => record.aggregate_type = input.text(5),
        2 => record.aggregate_id = Uuid::from_bytes(input.array()),
        3 => record.sequence ^= 1 << (input.byte() % 64),
        // What moves from the end of one field to the beginning of the next is an edit, too.
        4 => {
            let moved = record.event_type.pop();
            record
                .event_version
                .insert_str(0, &moved.map(String::from).unwrap_or_default());
        }
        5 => record.event_version = input.text(2),
        6 => record.payload.push_str(&input.text(2)),
        7 => std::mem::swap(&mut record.payload, &mut record.metadata),
        8 => record.command_id = CommandId::from_uuid(Uuid::from_bytes(input.array())),
        9 => record.effective_on = day(input),
        10 => record.recorded_at += chrono::Duration::microseconds(i64::from(input.byte())),
        11 => record.leaf_hash[usize::from(input.byte() % 32)] ^= 1 << (input.byte() % 8),
        _ => record.chain_hash[usize::from(input.byte() % 32)] ^= 1 << (input.byte() % 8),
    }
}

fn first_bad(records: &[Record]) -> Option<(i64, Fault)> {
    let mut chain = Chain::default();
    records.iter().find_map(|record| chain.next(record).err())
}

fn head(records: &[Record]) -> [u8; 32] {
    records.last().map_or(chain::GENESIS, |record| record.chain_hash)
}
