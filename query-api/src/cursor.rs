//! Cursors: where the next page begins. Opaque to clients, and worth nothing in the wrong hands: a cursor is only a place in
//! an order, and every page checks anew what its reader may see.

use chrono::{NaiveDate, TimeDelta};
use domain::calendar::FIRST_DAY;
use service_kit::problem::Problem;

use crate::params::LAST_DAY;

/// A place in a list that is ordered by day and then by `family_seq`, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The day.
    pub day: NaiveDate,
    /// The number of the event.
    pub family_seq: i64,
}

/// Bytes of a cursor: days since [`FIRST_DAY`], then the sequence.
const BYTES: usize = 12;

impl Cursor {
    /// A place in a list that is ordered by `family_seq` alone.
    pub(crate) fn of_seq(family_seq: i64) -> Self {
        Self {
            day: FIRST_DAY,
            family_seq,
        }
    }

    /// As it goes into an answer.
    pub fn encode(&self) -> String {
        let days = i32::try_from((self.day - FIRST_DAY).num_days()).unwrap_or_default();
        let mut bytes = [0_u8; BYTES];
        bytes[..4].copy_from_slice(&days.to_be_bytes());
        bytes[4..].copy_from_slice(&self.family_seq.to_be_bytes());
        hex::encode(bytes)
    }

    /// As it comes back.
    ///
    /// # Errors
    /// 400 for what no answer has given out.
    pub fn decode(text: &str) -> Result<Self, Problem> {
        Self::read(text).ok_or_else(|| Problem::malformed("after: this is not a cursor that an answer gave out"))
    }

    fn read(text: &str) -> Option<Self> {
        let mut bytes = [0_u8; BYTES];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        let (days, seq) = bytes.split_at(4);
        let days = i32::from_be_bytes(days.try_into().ok()?);
        let family_seq = i64::from_be_bytes(seq.try_into().ok()?);
        let day = FIRST_DAY.checked_add_signed(TimeDelta::try_days(days.into())?)?;
        // Days that no entry can have would be more than the database can hold.
        ((FIRST_DAY..=LAST_DAY).contains(&day) && family_seq > 0).then_some(Self { day, family_seq })
    }
}

/// Cuts the row too many off a page, and says where the next begins.
pub(crate) fn next_page<R>(rows: &mut Vec<R>, limit: u32, seq: impl Fn(&R) -> i64) -> Option<String> {
    if rows.len() <= limit as usize {
        return None;
    }
    rows.truncate(limit as usize);
    rows.last().map(|row| Cursor::of_seq(seq(row)).encode())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back() {
        let cursor = Cursor {
            day: NaiveDate::from_ymd_opt(2026, 11, 21).expect("a day"),
            family_seq: 77,
        };
        assert_eq!(Cursor::decode(&cursor.encode()).expect("a cursor"), cursor);
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in [
            "",
            "zz",
            "00",
            &"ff".repeat(12),
            &"7f".repeat(12),
            &"0".repeat(24),
            // The day before the first, one of the year 240,000 and one of a quarter of a million years ago.
            "ffffffff0000000000000001",
            "053000000000000000000001",
            "fad000000000000000000001",
            &"0".repeat(4_000),
            "é",
        ] {
            assert!(Cursor::decode(text).is_err(), "{text}");
        }
    }
}
