//! Query parameters: read as text and judged here, so that whatever is sent is answered with a reason and never with a 5xx.

use axum::extract::{Query, rejection::QueryRejection};
use chrono::{DateTime, NaiveDate, Utc};
use domain::calendar::FIRST_DAY;
use event_store::replay::AsOf;
use serde::{Deserialize, de::DeserializeOwned};
use service_kit::problem::Problem;

/// The bounds of a replay, as they come.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bounds {
    recorded_at: Option<String>,
    family_seq: Option<String>,
    effective_on: Option<String>,
}

impl Bounds {
    pub(super) fn new(recorded_at: Option<String>, family_seq: Option<String>, effective_on: Option<String>) -> Self {
        Self {
            recorded_at,
            family_seq,
            effective_on,
        }
    }

    pub(super) fn parse(&self) -> Result<AsOf, Problem> {
        if self.recorded_at.is_some() && self.family_seq.is_some() {
            return Err(Problem::malformed("give recorded_at or family_seq, not both"));
        }
        Ok(AsOf {
            recorded_at: self.recorded_at.as_deref().map(instant).transpose()?,
            family_seq: self
                .family_seq
                .as_deref()
                .map(|text| number("family_seq", text))
                .transpose()?,
            effective_on: self.effective_on.as_deref().map(day).transpose()?,
        })
    }
}

/// Parameters of a request, or the problem with them.
pub(super) fn parameters<T: DeserializeOwned>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    query
        .map(|Query(parameters)| parameters)
        .map_err(|rejection| Problem::malformed(rejection.body_text()))
}

/// A whole number from 0 up.
pub(super) fn number(name: &str, text: &str) -> Result<i64, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.ok_or_else(|| Problem::malformed(format!("{name} is a whole number from 0 up")))
}

fn instant(text: &str) -> Result<DateTime<Utc>, Problem> {
    // In a query a bare plus sign is a space, and people do not escape the one before an offset.
    let parsed = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc3339(&text.replace(' ', "+")));
    parsed
        .map(|at| at.with_timezone(&Utc))
        .ok()
        .filter(|at| (FIRST_DAY..=LAST_DAY).contains(&at.date_naive()))
        .ok_or_else(|| Problem::malformed("recorded_at is an instant such as 2026-11-21T12:00:00Z"))
}

/// The last day of the years that four digits hold.
const LAST_DAY: NaiveDate = match NaiveDate::from_ymd_opt(9999, 12, 31) {
    Some(day) => day,
    None => NaiveDate::MAX,
};

fn day(text: &str) -> Result<NaiveDate, Problem> {
    let is_plain = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let parsed = if is_plain {
        NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()
    } else {
        None
    };
    parsed.ok_or_else(|| Problem::malformed("effective_on is a day such as 2026-11-21"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(recorded_at: &str, family_seq: &str, effective_on: &str) -> Result<AsOf, Problem> {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let (recorded_at, family_seq, effective_on) = (given(recorded_at), given(family_seq), given(effective_on));
        Bounds {
            recorded_at,
            family_seq,
            effective_on,
        }
        .parse()
    }

    #[test]
    fn one_recorded_bound_and_a_day_go_together() {
        let both = bounds("2026-11-21T12:00:00Z", "", "2024-02-29").expect("bounds");
        assert!(both.recorded_at.is_some() && both.effective_on.is_some());
        assert!(bounds("", "7", "2024-02-29").is_ok());
        assert!(bounds("2026-11-21T12:00:00Z", "7", "").is_err());
    }

    #[test]
    fn an_offset_with_a_bare_plus_is_understood() {
        let plain = bounds("2026-11-21T13:00:00+01:00", "", "").expect("bounds");
        assert_eq!(bounds("2026-11-21T13:00:00 01:00", "", "").expect("bounds"), plain);
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
