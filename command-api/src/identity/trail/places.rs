//! Where a page ended, in words a client can hand back: the moment of its last item, and the item's name.

use chrono::{DateTime, Utc};
use service_kit::problem::Problem;

use super::super::secret::keyed_hash;

/// Bytes of an item's name.
const NAME_BYTES: usize = 8;

/// Where an item was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    Log,
    Trail,
}

/// An item's place: the greater, the newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub at: DateTime<Utc>,
    pub source: Source,
    pub number: i64,
}

impl Key {
    /// What tells it from every other item, without telling how many there are.
    pub fn name(&self, key: &[u8; 32]) -> String {
        let source: &[u8] = match self.source {
            Source::Log => b"log",
            Source::Trail => b"trail",
        };
        hex::encode(&keyed_hash(key, &[source, &self.number.to_be_bytes()])[..NAME_BYTES])
    }
}

/// After which item a page begins.
#[derive(Debug)]
pub(super) struct Place {
    pub at: DateTime<Utc>,
    name: String,
}

impl Place {
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let parsed = text.split_once('-').and_then(|(micros, name)| {
            let is_number = micros.len() <= 18 && micros.bytes().all(|byte| byte.is_ascii_digit());
            let is_name = name.len() == 2 * NAME_BYTES && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            let micros = micros.parse().ok().filter(|_| is_number && is_name)?;
            Some(Self {
                at: DateTime::from_timestamp_micros(micros)?,
                name: name.to_ascii_lowercase(),
            })
        });
        // Beyond what the database can hold is no place of ours either.
        let parsed = parsed.filter(|place| place.at.timestamp() < 32_503_680_000);
        parsed.ok_or_else(|| {
            Problem::malformed("cursor: expected next_cursor of an earlier page").with("field", "cursor")
        })
    }

    fn of(key: &Key, secret: &[u8; 32]) -> String {
        format!("{}-{}", key.at.timestamp_micros(), key.name(secret))
    }
}

/// One page of items, the newest first, out of all from `after` downwards; and the cursor of the next when there is more.
pub(super) fn page<T>(
    mut items: Vec<(Key, T)>,
    after: Option<&Place>,
    limit: usize,
    secret: &[u8; 32],
) -> (Vec<(Key, T)>, Option<String>) {
    items.sort_by(|(a, _), (b, _)| b.cmp(a));
    if let Some(after) = after {
        let last = items
            .iter()
            .position(|(key, _)| key.at == after.at && key.name(secret) == after.name);
        let begins = match last {
            Some(last) => last + 1,
            // It is gone, with what was kept of somebody: on with what is older.
            None => items.partition_point(|(key, _)| key.at >= after.at),
        };
        items.drain(..begins);
    }
    let is_more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| is_more).map(|(key, _)| Place::of(key, secret));
    (items, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [3; 32];

    fn key(seconds: i64, source: Source, number: i64) -> Key {
        Key {
            at: DateTime::from_timestamp(seconds, 0).unwrap(),
            source,
            number,
        }
    }

    #[test]
    fn pages_of_any_size_hold_every_item_once_in_one_order() {
        // Many at one moment, from both sources.
        let items: Vec<(Key, i64)> = (0..60)
            .map(|number| {
                let source = if number % 3 == 0 { Source::Log } else { Source::Trail };
                (key(number / 7, source, number), number)
            })
            .collect();
        let mut whole = items.clone();
        whole.sort_by(|(a, _), (b, _)| b.cmp(a));
        for limit in 1..=61 {
            let (mut seen, mut cursor) = (Vec::new(), None::<String>);
            loop {
                let after = cursor.as_deref().map(|text| Place::parse(text).unwrap());
                let until = after.as_ref().map(|place| place.at);
                let rest = items
                    .iter()
                    .filter(|(key, _)| until.is_none_or(|until| key.at <= until));
                let (page, next) = page(rest.cloned().collect(), after.as_ref(), limit, &SECRET);
                assert!(!page.is_empty());
                seen.extend(page);
                match next {
                    Some(next) => cursor = Some(next),
                    None => break,
                }
            }
            assert_eq!(seen, whole, "by {limit}");
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in [
            "",
            "-",
            "1",
            "1-",
            "x-0011223344556677",
            "-1-0011223344556677",
            "1-001122334455667",
            "1-00112233445566zz",
        ] {
            assert!(Place::parse(text).is_err(), "{text}");
        }
        assert!(Place::parse("999999999999999999-0011223344556677").is_err());
        assert!(Place::parse("1763746029000000-0011223344556677").is_ok());
    }

    #[test]
    fn a_name_tells_items_apart_and_nothing_else() {
        let names = [
            key(1, Source::Log, 7),
            key(1, Source::Trail, 7),
            key(1, Source::Trail, 8),
        ]
        .map(|key| key.name(&SECRET));
        assert!(names[0] != names[1] && names[1] != names[2]);
        assert_eq!(key(2, Source::Log, 7).name(&SECRET), names[0]);
        assert_ne!(key(1, Source::Log, 7).name(&[4; 32]), names[0]);
    }
}
