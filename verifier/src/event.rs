//! One line of `events.ndjson`. A line has exactly one spelling: fields in this order, no space, one way to escape. So a
//! changed byte is a changed meaning, or no event at all.

use crate::hash::{Hash, chain, event_leaf, tree_leaf, unhex, uuid};

/// Hashes that may stand before an event: two per height and cut.
const BEFORE_MAX: usize = 1 << 18;

/// An event of a pack.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) family_seq: u64,
    pub(crate) position: u64,
    pub(crate) lane: u16,
    pub(crate) family_id: [u8; 16],
    pub(crate) aggregate_type: String,
    pub(crate) aggregate_id: String,
    pub(crate) sequence: i64,
    pub(crate) event_type: String,
    pub(crate) event_version: String,
    pub(crate) command_id: [u8; 16],
    pub(crate) effective_on: String,
    pub(crate) recorded_at_us: i64,
    pub(crate) leaf_hash: Hash,
    pub(crate) chain_hash: Hash,
    pub(crate) tree_leaf: Hash,
    pub(crate) before: Vec<Hash>,
    pub(crate) metadata: String,
    pub(crate) payload: String,
}

/// The last line of `events.ndjson`.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) events: u64,
    pub(crate) chain_hash: Hash,
    pub(crate) lane_size: u64,
    pub(crate) after: Vec<Hash>,
}

impl Event {
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let mut line = Line(line);
        let event = Self {
            family_seq: line.number("{\"family_seq\":")?,
            position: line.number(",\"position\":")?,
            lane: u16::try_from(line.number(",\"lane\":")?).ok()?,
            family_id: uuid(line.plain(",\"family_id\":\"")?)?,
            aggregate_type: line.text(",\"aggregate_type\":\"")?,
            aggregate_id: line.text(",\"aggregate_id\":\"")?,
            sequence: i64::try_from(line.number(",\"sequence\":")?).ok()?,
            event_type: line.text(",\"event_type\":\"")?,
            event_version: line.text(",\"event_version\":\"")?,
            command_id: uuid(line.plain(",\"command_id\":\"")?)?,
            effective_on: line.text(",\"effective_on\":\"")?,
            recorded_at_us: instant(line.plain(",\"recorded_at\":\"")?)?,
            leaf_hash: unhex(line.plain(",\"leaf_hash\":\"")?)?,
            chain_hash: unhex(line.plain(",\"chain_hash\":\"")?)?,
            tree_leaf: unhex(line.plain(",\"tree_leaf\":\"")?)?,
            before: line.hashes(",\"before\":[")?,
            metadata: line.text(",\"metadata\":\"")?,
            payload: line.text(",\"payload\":\"")?,
        };
        (line.0 == b"}").then_some(event)
    }

    /// The leaf hash that its own fields give.
    pub(crate) fn made_leaf(&self) -> Hash {
        event_leaf(&[
            &self.family_id,
            self.aggregate_type.as_bytes(),
            self.aggregate_id.as_bytes(),
            &self.sequence.to_be_bytes(),
            self.event_type.as_bytes(),
            self.event_version.as_bytes(),
            &self.command_id,
            self.effective_on.as_bytes(),
            self.payload.as_bytes(),
            self.metadata.as_bytes(),
        ])
    }

    /// The chain hash after `previous`.
    pub(crate) fn made_chain(&self, previous: &Hash) -> Hash {
        chain(previous, self.family_seq, self.recorded_at_us, &self.leaf_hash)
    }

    /// Its leaf in the lane's tree.
    pub(crate) fn made_tree_leaf(&self) -> Hash {
        tree_leaf(
            self.lane,
            self.position,
            &self.family_id,
            self.family_seq,
            &self.chain_hash,
        )
    }
}

impl End {
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let mut line = Line(line);
        let end = Self {
            events: line.number("{\"end\":true,\"events\":")?,
            chain_hash: unhex(line.plain(",\"chain_hash\":\"")?)?,
            lane_size: line.number(",\"lane_size\":")?,
            after: line.hashes(",\"after\":[")?,
        };
        (line.0 == b"}").then_some(end)
    }

    /// Does a line claim to be the end?
    pub(crate) fn is_meant(line: &[u8]) -> bool {
        line.starts_with(b"{\"end\":")
    }
}

/// What is left of a line.
struct Line<'a>(&'a [u8]);

impl<'a> Line<'a> {
    fn skip(&mut self, literal: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(literal.as_bytes())?;
        Some(())
    }

    /// A number without sign and leading zeros.
    fn number(&mut self, label: &str) -> Option<u64> {
        self.skip(label)?;
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = self.0.split_at(digits);
        if number.len() > 1 && number[0] == b'0' {
            return None;
        }
        self.0 = rest;
        std::str::from_utf8(number).ok()?.parse().ok()
    }

    /// A string without escapes, up to its closing quote.
    fn plain(&mut self, label: &str) -> Option<&'a [u8]> {
        self.skip(label)?;
        let end = self.0.iter().position(|byte| *byte == b'"')?;
        let (text, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        Some(text)
    }

    /// A string. A character is escaped if and only if JSON demands it, and then in its shortest form.
    fn text(&mut self, label: &str) -> Option<String> {
        self.skip(label)?;
        let mut text = Vec::new();
        loop {
            let plain = self
                .0
                .iter()
                .position(|byte| *byte == b'"' || *byte == b'\\' || *byte < 0x20)?;
            let (before, rest) = self.0.split_at(plain);
            text.extend_from_slice(before);
            match rest {
                [b'"', rest @ ..] => {
                    self.0 = rest;
                    return String::from_utf8(text).ok();
                }
                [b'\\', b'u', b'0', b'0', high @ (b'0' | b'1'), low, rest @ ..] => {
                    let low = match low {
                        b'0'..=b'9' => low - b'0',
                        b'a'..=b'f' => low - b'a' + 10,
                        _ => return None,
                    };
                    let control = (high - b'0') << 4 | low;
                    // These have a shorter form.
                    if matches!(control, 0x08 | 0x09 | 0x0a | 0x0c | 0x0d) {
                        return None;
                    }
                    text.push(control);
                    self.0 = rest;
                }
                [b'\\', escaped, rest @ ..] => {
                    text.push(match escaped {
                        b'"' => b'"',
                        b'\\' => b'\\',
                        b'b' => 0x08,
                        b'f' => 0x0c,
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        _ => return None,
                    });
                    self.0 = rest;
                }
                _ => return None,
            }
        }
    }

    fn hashes(&mut self, label: &str) -> Option<Vec<Hash>> {
        self.skip(label)?;
        let mut hashes = Vec::new();
        while self.skip("]").is_none() {
            let quote = if hashes.is_empty() { "\"" } else { ",\"" };
            hashes.push(unhex(self.plain(quote)?)?);
            if hashes.len() > BEFORE_MAX {
                return None;
            }
        }
        Some(hashes)
    }
}

/// Microseconds since 1970 of `2026-11-21T12:00:00.123456Z`.
fn instant(text: &[u8]) -> Option<i64> {
    let shape = b"dddd-dd-ddTdd:dd:dd.ddddddZ";
    let fits = |(byte, wanted): (&u8, &u8)| match wanted {
        b'd' => byte.is_ascii_digit(),
        _ => byte == wanted,
    };
    if text.len() != shape.len() || !text.iter().zip(shape).all(fits) {
        return None;
    }
    let number = |from: usize, to: usize| {
        text[from..to]
            .iter()
            .fold(0_i64, |sum, digit| sum * 10 + i64::from(digit - b'0'))
    };
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let (hour, minute, second) = (number(11, 13), number(14, 16), number(17, 19));
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of_month = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days_of_month).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days since 1970 in the proleptic Gregorian calendar, with years that begin in March.
    let (year, month) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * month + 2) / 5 + day - 1;
    let days = era * 146_097 + day_of_era - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + number(20, 26))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_to_the_microsecond() {
        assert_eq!(instant(b"1970-01-01T00:00:00.000000Z"), Some(0));
        assert_eq!(instant(b"2026-11-21T00:00:00.000001Z"), Some(1_795_219_200_000_001));
        assert_eq!(instant(b"2000-02-29T23:59:59.999999Z"), Some(951_868_799_999_999));
        assert_eq!(instant(b"1900-02-29T00:00:00.000000Z"), None);
        assert_eq!(instant(b"2026-13-01T00:00:00.000000Z"), None);
        assert_eq!(instant(b"2026-11-21T00:00:00Z"), None);
    }

    #[test]
    fn text_has_one_spelling() {
        let read = |text: &str| Line(text.as_bytes()).text("\"");
        assert_eq!(read(r#""a\"\\\n\u0001é""#).as_deref(), Some("a\"\\\n\u{1}é"));
        for other in [
            r#""\u000a""#,
            r#""\u0041""#,
            r#""\/""#,
            r#""\u001F""#,
            "\"\u{1}\"",
            "\"open",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
