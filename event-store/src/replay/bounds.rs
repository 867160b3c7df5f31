//! Bounds as people write them, judged here so that every place that takes them says yes and no alike.

use chrono::{DateTime, NaiveDate, Utc};
use domain::calendar::FIRST_DAY;

use super::AsOf;

/// Why bounds cannot be read; the message is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BoundError {
    /// Two recorded bounds, of which nobody can say which is meant.
    #[error("give recorded_at or family_seq, not both")]
    Both,
    /// Not an instant.
    #[error("recorded_at is an instant such as 2026-11-21T12:00:00Z")]
    Instant,
    /// Not a number.
    #[error("{0} is a whole number from 0 up")]
    Number(&'static str),
    /// Not a day.
    #[error("effective_on is a day such as 2026-11-21")]
    Day,
}

impl AsOf {
    /// Bounds from their texts.
    ///
    /// # Errors
    /// [`BoundError`].
    pub fn parse(
        recorded_at: Option<&str>,
        family_seq: Option<&str>,
        effective_on: Option<&str>,
    ) -> Result<Self, BoundError> {
        if recorded_at.is_some() && family_seq.is_some() {
            return Err(BoundError::Both);
        }
        Ok(Self {
            recorded_at: recorded_at.map(instant).transpose()?,
            family_seq: family_seq.map(|text| number("family_seq", text)).transpose()?,
            effective_on: effective_on.map(day).transpose()?,
        })
    }
}

/// A whole number from 0 up.
///
/// # Errors
/// [`BoundError::Number`].
pub fn number(name: &'static str, text: &str) -> Result<i64, BoundError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.ok_or(BoundError::Number(name))
}

fn instant(text: &str) -> Result<DateTime<Utc>, BoundError> {
    // In a query a bare plus sign is a space, and people do not escape the one before an offset.
    let parsed = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc3339(&text.replace(' ', "+")));
    parsed
        .map(|at| at.with_timezone(&Utc))
        .ok()
        .filter(|at| (FIRST_DAY..=LAST_DAY).contains(&at.date_naive()))
        .ok_or(BoundError::Instant)
}

/// The last day whose year has four digits in every zone.
const LAST_DAY: NaiveDate = match NaiveDate::from_ymd_opt(9999, 12, 30) {
    Some(day) => day,
    None => NaiveDate::MAX,
};

fn day(text: &str) -> Result<NaiveDate, BoundError> {
    let is_plain = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let parsed = if is_plain {
        NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()
    } else {
        None
    };
    parsed.ok_or(BoundError::Day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(recorded_at: &str, family_seq: &str, effective_on: &str) -> Result<AsOf, BoundError> {
        let given = |text| Some(text).filter(|text: &&str| !text.is_empty());
        AsOf::parse(given(recorded_at), given(family_seq), given(effective_on))
    }

    #[test]
    fn one_recorded_bound_and_a_day_go_together() {
        let both = bounds("2026-11-21T12:00:00Z", "", "2024-02-29").expect("bounds");
        assert!(both.recorded_at.is_some() && both.effective_on.is_some());
        assert!(bounds("", "7", "2024-02-29").is_ok());
        assert_eq!(bounds("2026-11-21T12:00:00Z", "7", ""), Err(BoundError::Both));
    }

    #[test]
    fn an_offset_with_a_bare_plus_is_understood() {
        let plain = bounds("2026-11-21T13:00:00+01:00", "", "").expect("bounds");
        assert_eq!(bounds("2026-11-21T13:00:00 01:00", "", "").expect("bounds"), plain);
    }

    #[test]
    fn an_instant_has_a_year_of_four_digits_in_every_zone() {
        assert!(bounds("9999-12-30T23:59:59Z", "", "").is_ok());
        for late in [
            "9999-12-31T00:00:00Z",
            "9999-12-30T23:59:59-12:00",
            "9999-12-31T23:59:60Z",
        ] {
            assert_eq!(bounds(late, "", ""), Err(BoundError::Instant), "{late}");
        }
    }

    #[test]
    fn an_instant_keeps_its_microseconds() {
        let exact = bounds("2026-11-21T12:00:00.123456Z", "", "").expect("bounds");
        assert_eq!(exact.recorded_at.map(|at| at.timestamp_subsec_micros()), Some(123_456));
    }

    #[test]
    fn nonsense_is_malformed() {
        let odd_instants = [
            "yesterday",
            "2026-11-21",
            "+262000-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "\u{0}",
        ];
        assert!(odd_instants.iter().all(|text| bounds(text, "", "").is_err()));
        let odd_numbers = ["-1", "+1", "1e3", "99999999999999999999", " 1", "٣"];
        assert!(odd_numbers.iter().all(|text| bounds("", text, "").is_err()));
        let odd_days = ["2023-02-29", "2024-2-29", "29.02.2024", "+2024-02-29", "99999-01-01"];
        assert!(odd_days.iter().all(|text| bounds("", "", text).is_err()));
    }
}
