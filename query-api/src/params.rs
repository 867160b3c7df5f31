//! Query parameters: what every view takes, and how the rest is read. Unknown, repeated and malformed ones are refused, so
//! that a misspelt filter never shows more than was meant.

use axum::{extract::Query, http::Uri};
use chrono::NaiveDate;
use domain::{calendar::FIRST_DAY, parsing::without_values};
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use service_kit::problem::Problem;

/// Most rows of one page.
pub(crate) const PAGE_MAX: u32 = 200;
/// Rows of a page when nothing is said.
const PAGE_DEFAULT: u32 = 50;
/// Longest query string, in bytes.
const QUERY_BYTES_MAX: usize = 4_096;
/// The last day that may be asked for.
pub(crate) const LAST_DAY: NaiveDate = match NaiveDate::from_ymd_opt(9999, 12, 31) {
    Some(day) => day,
    None => NaiveDate::MAX,
};

/// No parameters.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoParams {}

/// Parameters that every view takes, and is not told of by its own type.
const COMMON: [&str; 2] = ["min_family_seq", "effective_on"];

#[derive(Deserialize)]
struct Common {
    min_family_seq: Option<i64>,
    effective_on: Option<NaiveDate>,
}

/// What a request asks for.
#[derive(Debug)]
pub(crate) struct Asked<P> {
    /// Only from rows that hold this event.
    pub(crate) min_family_seq: Option<i64>,
    /// Nothing that counts for a later day.
    pub(crate) effective_on: Option<NaiveDate>,
    /// The view's own parameters.
    pub(crate) params: P,
    /// The view's own parameters as written: part of the ETag, as the day is.
    pub(crate) query: String,
}

/// Reads the query string of a request.
pub(crate) fn read<P: DeserializeOwned>(query: Option<&str>) -> Result<Asked<P>, Problem> {
    let query = query.unwrap_or_default();
    if query.len() > QUERY_BYTES_MAX {
        return Err(Problem::malformed(format!(
            "the query string is longer than {QUERY_BYTES_MAX} bytes"
        )));
    }
    let is_common = |pair: &&str| pair.split('=').next().is_some_and(|name| COMMON.contains(&name));
    let common: Vec<&str> = query.split('&').filter(is_common).collect();
    let own: Vec<&str> = query.split('&').filter(|pair| !is_common(pair)).collect();
    let common: Common = parse(&common.join("&"))?;
    if common.min_family_seq.is_some_and(|seq| seq < 0) {
        return Err(Problem::malformed("min_family_seq: expected a number from 0"));
    }
    let query = own.join("&");
    Ok(Asked {
        min_family_seq: common.min_family_seq,
        effective_on: day("effective_on", common.effective_on)?,
        params: parse(&query)?,
        query,
    })
}

fn parse<P: DeserializeOwned>(query: &str) -> Result<P, Problem> {
    let uri = Uri::builder().path_and_query(format!("/?{query}")).build();
    let uri = uri.map_err(|_| Problem::malformed("the query string is not a valid one"))?;
    Query::try_from_uri(&uri).map(|Query(params)| params).map_err(|error| {
        let detail: String = without_values(&error.body_text()).chars().take(300).collect();
        Problem::malformed(detail)
    })
}

/// Rows of a page: 1 to [`PAGE_MAX`].
pub(crate) fn limit(asked: Option<u32>) -> Result<u32, Problem> {
    match asked {
        None => Ok(PAGE_DEFAULT),
        Some(limit @ 1..=PAGE_MAX) => Ok(limit),
        Some(_) => Err(Problem::malformed(format!(
            "limit: expected a number from 1 to {PAGE_MAX}"
        ))),
    }
}

/// The earlier of two last days, where either may be missing.
pub(crate) fn earlier(one: Option<NaiveDate>, other: Option<NaiveDate>) -> Option<NaiveDate> {
    one.into_iter().chain(other).min()
}

/// A day that a ledger can hold.
pub(crate) fn day(name: &str, asked: Option<NaiveDate>) -> Result<Option<NaiveDate>, Problem> {
    match asked {
        Some(day) if day < FIRST_DAY || day > LAST_DAY => Err(Problem::malformed(format!(
            "{name}: expected a day from {FIRST_DAY} to {LAST_DAY}"
        ))),
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Some {
        limit: Option<u32>,
    }

    #[test]
    fn the_common_parameter_is_read_beside_the_views_own() {
        let asked = read::<Some>(Option::Some("limit=5&min_family_seq=7")).expect("parameters");
        assert_eq!(
            (asked.min_family_seq, asked.params.limit, asked.query.as_str()),
            (Option::Some(7), Option::Some(5), "limit=5")
        );
        let asked = read::<Some>(Option::Some("effective_on=2024-02-29&limit=5")).expect("parameters");
        assert_eq!(asked.effective_on, NaiveDate::from_ymd_opt(2024, 2, 29));
        assert_eq!(asked.query, "limit=5");
    }

    #[test]
    fn what_cannot_be_read_is_malformed() {
        for query in [
            "limits=5",
            "limit=x",
            "limit=5&limit=6",
            "min_family_seq=-1",
            "min_family_seq=x",
            "effective_on=2023-02-29",
            "effective_on=1969-12-31",
            "effective_on=2024-02-29&effective_on=2024-02-29",
            "limit=%ff&\u{7f}",
        ] {
            assert!(read::<Some>(Option::Some(query)).is_err(), "{query}");
        }
        assert!(read::<Some>(Option::Some(&"a".repeat(QUERY_BYTES_MAX + 1))).is_err());
    }

    #[test]
    fn a_page_has_a_row_and_at_most_two_hundred() {
        assert!(limit(Option::Some(0)).is_err());
        assert!(limit(Option::Some(1)).is_ok());
        assert!(limit(Option::Some(200)).is_ok());
        assert!(limit(Option::Some(201)).is_err());
    }
}
