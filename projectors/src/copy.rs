//! Rows on their way into a table by COPY, in its binary format.
//!
//! A table takes rows so several times faster than by statements, as long as it has no keys and no policies yet: that is how
//! a rebuild fills the large ones. In the binary format the server has nothing to parse, and this process nothing to print;
//! the price is that a value must be given as its column's very type, which the server checks by its length. What is written
//! here is bounded by the caller, who sends it after every few thousand events.

use std::{collections::BTreeMap, fmt::Write};

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

/// What a binary COPY begins with: signature, flags, no further header.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with, in place of a row's number of values.
const TRAILER: i16 = -1;
/// In place of a value's length.
const NOTHING: i32 = -1;
/// Bytes sent at once: what the processor's cache holds on both sides.
const CHUNK_BYTES: usize = 128 * 1024;
/// The first day of Postgres, as chrono counts days from the year one.
const EPOCH_DAYS: i32 = 730_120;
/// The first instant of Postgres, in microseconds since 1970.
const EPOCH_US: i64 = 946_684_800_000_000;
/// Postgres keeps decimals in digits of four places each.
const DIGIT_PLACES: u32 = 4;
/// The base of such a digit.
const DIGIT_BASE: u128 = 10_000;
/// So many of them hold any decimal of ours: 29 places, and up to three zeros behind them.
const DIGITS_MAX: usize = 8;

/// A table, and the columns a projection gives, in the order it gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Columns {
    /// The table.
    pub table: &'static str,
    /// Column names, separated by commas.
    pub names: &'static str,
}

/// Rows of several tables.
#[derive(Debug, Default)]
pub struct Copies {
    rows: BTreeMap<Columns, Vec<u8>>,
}

impl Copies {
    /// The rows of one table.
    pub fn rows_of(&mut self, columns: Columns) -> Rows<'_> {
        Rows {
            bytes: self.rows.entry(columns).or_insert_with(|| HEADER.to_vec()),
            row: None,
        }
    }

    /// Sends everything to the tables that the transaction finds; nothing is left behind.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn send(&mut self, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
        for (columns, mut bytes) in std::mem::take(&mut self.rows) {
            if bytes.len() <= HEADER.len() {
                continue;
            }
            bytes.extend(TRAILER.to_be_bytes());
            let statement = format!("copy {} ({}) from stdin (format binary)", columns.table, columns.names);
            let mut copy = tx.copy_in_raw(&statement).await?;
            for chunk in bytes.chunks(CHUNK_BYTES) {
                copy.send(chunk).await?;
            }
            copy.finish().await?;
        }
        Ok(())
    }
}

/// Rows of one table, value by value; each ends with [`Rows::end`].
pub struct Rows<'a> {
    bytes: &'a mut Vec<u8>,
    /// Of the row under way: where it begins, and how many values it has.
    row: Option<(usize, i16)>,
}

impl Rows<'_> {
    /// An id.
    pub fn id(&mut self, value: Uuid) -> &mut Self {
        self.fixed(value.into_bytes())
    }

    /// An id, or nothing.
    pub fn maybe_id(&mut self, value: Option<Uuid>) -> &mut Self {
        self.maybe(value, Self::id)
    }

    /// A number, in a column of `bigint`.
    pub fn number(&mut self, value: i64) -> &mut Self {
        self.fixed(value.to_be_bytes())
    }

    /// A number, in a column of `smallint`.
    pub fn small_number(&mut self, value: i16) -> &mut Self {
        self.fixed(value.to_be_bytes())
    }

    /// A number, or nothing, in a column of `bigint`.
    pub fn maybe_number(&mut self, value: Option<i64>) -> &mut Self {
        self.maybe(value, Self::number)
    }

    /// An exact amount.
    pub fn amount(&mut self, value: Decimal) -> &mut Self {
        let scale = value.scale();
        // Digits of four places are counted from the point, to both sides.
        let behind = scale.div_ceil(DIGIT_PLACES);
        let mut rest = value.mantissa().unsigned_abs() * 10_u128.pow(behind * DIGIT_PLACES - scale);
        let mut digits = [0_u16; DIGITS_MAX];
        let mut first = DIGITS_MAX;
        while rest > 0 && first > 0 {
            first -= 1;
            // Less than the base, which fits.
            digits[first] = (rest % DIGIT_BASE) as u16;
            rest /= DIGIT_BASE;
        }
        let end = DIGITS_MAX - digits.iter().rev().take_while(|digit| **digit == 0).count();
        let digits = digits.get(first..end).unwrap_or_default();
        // Of the first digit: how many stand between it and the point.
        let weight = (DIGITS_MAX - first) as i16 - behind as i16 - 1;
        let sign = if value.is_sign_negative() && !digits.is_empty() {
            0x4000_u16
        } else {
            0
        };
        let bytes = self.value(8 + 2 * digits.len());
        bytes.extend((digits.len() as i16).to_be_bytes());
        bytes.extend(if digits.is_empty() { 0 } else { weight }.to_be_bytes());
        bytes.extend(sign.to_be_bytes());
        bytes.extend((scale as i16).to_be_bytes());
        bytes.extend(digits.iter().flat_map(|digit| digit.to_be_bytes()));
        self
    }

    /// An exact amount, or nothing.
    pub fn maybe_amount(&mut self, value: Option<Decimal>) -> &mut Self {
        self.maybe(value, Self::amount)
    }

    /// A day.
    pub fn day(&mut self, value: NaiveDate) -> &mut Self {
        self.fixed((value.num_days_from_ce() - EPOCH_DAYS).to_be_bytes())
    }

    /// A day that may be missing.
    pub fn maybe_day(&mut self, value: Option<NaiveDate>) -> &mut Self {
        self.maybe(value, Self::day)
    }

    /// An instant, to the microsecond as the database keeps it.
    pub fn instant(&mut self, value: DateTime<Utc>) -> &mut Self {
        self.fixed((value.timestamp_micros() - EPOCH_US).to_be_bytes())
    }

    /// Yes or no.
    pub fn flag(&mut self, value: bool) -> &mut Self {
        self.fixed([u8::from(value)])
    }

    /// Text of any kind.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.value(value.len()).extend(value.as_bytes());
        self
    }

    /// What prints as text.
    pub fn printed(&mut self, value: impl std::fmt::Display) -> &mut Self {
        let begins = self.value(0).len();
        // Writing to memory cannot fail.
        write!(Printer(self.bytes), "{value}").unwrap_or_default();
        let length = length_of(self.bytes.len() - begins);
        self.bytes[begins - 4..begins].copy_from_slice(&length.to_be_bytes());
        self
    }

    /// Text, or nothing.
    pub fn maybe_text(&mut self, value: Option<&str>) -> &mut Self {
        self.maybe(value, Self::text)
    }

    /// The end of a row.
    pub fn end(&mut self) {
        if let Some((begins, values)) = self.row.take() {
            self.bytes[begins..begins + 2].copy_from_slice(&values.to_be_bytes());
        }
    }

    fn maybe<T>(&mut self, value: Option<T>, some: impl FnOnce(&mut Self, T) -> &mut Self) -> &mut Self {
        match value {
            Some(value) => some(self, value),
            None => {
                self.value(0);
                let begins = self.bytes.len() - 4;
                self.bytes[begins..].copy_from_slice(&NOTHING.to_be_bytes());
                self
            }
        }
    }

    fn fixed<const LENGTH: usize>(&mut self, value: [u8; LENGTH]) -> &mut Self {
        self.value(LENGTH).extend(value);
        self
    }

    /// Begins a value of so many bytes, and a row when none is under way.
    fn value(&mut self, length: usize) -> &mut Vec<u8> {
        let (_, values) = self.row.get_or_insert_with(|| {
            let begins = self.bytes.len();
            self.bytes.extend(0_i16.to_be_bytes());
            (begins, 0)
        });
        *values += 1;
        self.bytes.extend(length_of(length).to_be_bytes());
        self.bytes
    }
}

/// As the protocol counts; what is longer than it can say, the server refuses.
fn length_of(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

struct Printer<'a>(&'a mut Vec<u8>);

impl Write for Printer<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Rows<'_>)) -> Vec<u8> {
        let mut copies = Copies::default();
        let columns = Columns {
            table: "t",
            names: "a, b, c",
        };
        write(&mut copies.rows_of(columns));
        copies.rows[&columns][HEADER.len()..].to_vec()
    }

    #[test]
    fn a_row_tells_its_values_and_each_value_its_length_and_nothing_is_told_from_empty() {
        let bytes = written(|rows| {
            rows.text("a\tb").maybe_text(None).text("").end();
            rows.flag(true).printed(Uuid::nil().simple()).small_number(-2).end();
        });
        let mut wanted = b"\0\x03\0\0\0\x03a\tb\xff\xff\xff\xff\0\0\0\0".to_vec();
        wanted.extend(b"\0\x03\0\0\0\x01\x01\0\0\0\x20");
        wanted.extend([b'0'; 32]);
        wanted.extend(b"\0\0\0\x02\xff\xfe");
        assert_eq!(bytes, wanted);
    }

    #[test]
    fn an_amount_is_kept_in_digits_of_four_places_counted_from_the_point() {
        let digits = |text: &str| {
            let bytes = written(|rows| rows.amount(text.parse().expect("a decimal")).end());
            let numbers: Vec<i16> = bytes[6..]
                .chunks(2)
                .map(|pair| i16::from_be_bytes([pair[0], pair[1]]))
                .collect();
            numbers
        };
        // How many digits, the weight of the first, sign, scale, digits.
        assert_eq!(digits("12345.60"), [3, 1, 0, 2, 1, 2345, 6000]);
        assert_eq!(digits("-0.0001"), [1, -1, 0x4000, 4, 1]);
        assert_eq!(digits("20000"), [1, 1, 0, 0, 2]);
        assert_eq!(digits("-0.00"), [0, 0, 0, 2]);
    }
}
