//! Cursors of pages: whatever stands in `after`, it is a place that an answer could have given out, or refused.

use chrono::NaiveDate;
use query_api::cursor::Cursor;

/// The bytes as the text of a parameter, and as what a cursor is made of.
pub fn query_cursor(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        holds(text);
    }
    holds(&data.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
}

fn holds(text: &str) {
    let Ok(cursor) = Cursor::decode(text) else { return };
    assert_eq!(cursor.encode(), text.to_ascii_lowercase(), "a place has one cursor");
    assert_eq!(Cursor::decode(&cursor.encode()).ok(), Some(cursor));
    // What an entry can have, and so what the database can be asked for.
    let days = [(1970, 1, 1), (9999, 12, 31)].map(|(year, month, day)| NaiveDate::from_ymd_opt(year, month, day));
    assert!(Some(cursor.day) >= days[0] && Some(cursor.day) <= days[1], "{cursor:?}");
    assert!(cursor.family_seq > 0, "{cursor:?}");
}
