//! The trail of security events, read: one's own, and what the parents of a family are told.
//!
//! A person reads everything about their own account. A parent reads, of teens and children of the family from the day they
//! joined, everything about their accounts, devices too; of themself the same; of another adult only what concerns the family:
//! roles, invitations, pairings, exports, keys for the family. When and from where another adult signs in is theirs alone, so
//! nobody is followed through the trail. Beside what is written down in `identity.security_events` the family's log tells of
//! roles, leaving, removals, hand-overs, auditors' terms, shares and consent. ADR 0043 has the choice.
//!
//! Both are shown for thirteen months, the newest first, by pages: an item's place is its moment, its source and its number
//! there, none of which ever changes, so a page neither repeats nor skips anything while more is written. Numbers of the trail
//! count the events of the whole installation, so they leave only as keyed hashes.

pub mod history;
mod of_family;
mod own;
mod places;

use axum::{
    Router,
    extract::{Query, rejection::QueryRejection},
    routing::get,
};
use chrono::{DateTime, Duration, Utc};
use domain::parsing::without_values;
use serde::Deserialize;
use serde_json::{Value, json};
use service_kit::problem::Problem;

use super::{
    Identity,
    openapi::{Caller, NOT_SIGNED_IN, Route, id_parameter, schema},
    security_events::TERM_DAYS,
};
use places::Place;

/// Items of a page unless asked otherwise.
const LIMIT_DEFAULT: usize = 50;
/// Items of a page at most.
const LIMIT_MAX: usize = 200;
/// Events of one microsecond that are told apart, at most. Each is written at a moment of its own, so there is hardly ever a second.
const SAME_MOMENT_MAX: usize = 50;

/// The words that say what an event was about; whatever else its detail may hold is not shown.
const WORDS: &[&str] = &[
    "apple",
    "beancount",
    "counter-went-back",
    "device-ended",
    "device-unattended",
    "facebook",
    "fed",
    "google",
    "hledger",
    "html",
    "hwk",
    "json",
    "kba",
    "key-encryption",
    "match-code",
    "ndjson",
    "operator",
    "otp",
    "pack",
    "passkey",
    "password",
    "pin",
    "pop",
    "pwd",
    "rc",
    "recovery-code",
    "replay",
    "sealing",
    "signing",
    "sms",
    "swk",
    "totp",
    "user",
    "webauthn",
    "x",
];

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .route("/api/v1/auth/security-events", get(own::list))
        .route("/api/v1/families/{family_id}/security-events", get(of_family::list))
}

pub(super) fn paths() -> Vec<Route> {
    const BAD_QUERY: (u16, &str) = (400, "A parameter cannot be read.");
    vec![
        Route {
            path: "/api/v1/auth/security-events",
            method: "get",
            operation_id: "own-security-events",
            summary: "What happened to the signed-in person's access",
            description: "Who may call: any signed-in person, about themself. The newest comes first; thirteen months are kept.",
            caller: Caller::SignedIn,
            parameters: json!(paging().as_slice()),
            body: None,
            success: (200, "A page of events.", Some(schema::<own::OwnPage>())),
            problems: &[BAD_QUERY, NOT_SIGNED_IN],
        },
        Route {
            path: "/api/v1/families/{family_id}/security-events",
            method: "get",
            operation_id: "security-events",
            summary: "What happened to the access of a family's members",
            description: "Who may call: a parent of the family. Of teens and children it has everything, of other adults only \
                what concerns the family. The newest comes first; thirteen months are kept.",
            caller: Caller::SignedIn,
            parameters: {
                let [limit, cursor] = paging();
                json!([id_parameter("family_id", "fam"), limit, cursor])
            },
            body: None,
            success: (200, "A page of events.", Some(schema::<of_family::FamilyPage>())),
            problems: &[
                BAD_QUERY,
                NOT_SIGNED_IN,
                (403, "The person is no parent of the family."),
                (404, "There is no such family for this person."),
                (503, "The ledger cannot be reached just now."),
            ],
        },
    ]
}

fn paging() -> [Value; 2] {
    [
        json!({
            "name": "limit",
            "in": "query",
            "required": false,
            "description": "Events of a page at most",
            "schema": { "type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT },
        }),
        json!({
            "name": "cursor",
            "in": "query",
            "required": false,
            "description": "`next_cursor` of the page before",
            "schema": { "type": "string", "maxLength": 64 },
        }),
    ]
}

/// Which page, as it comes: judged here, so that whatever is sent is answered with a reason.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PageQuery {
    limit: Option<String>,
    cursor: Option<String>,
}

/// Which page.
struct Page {
    limit: usize,
    after: Option<Place>,
}

impl Page {
    fn of(query: Result<Query<PageQuery>, QueryRejection>) -> Result<Self, Problem> {
        let Query(query) = query.map_err(|rejection| Problem::malformed(without_values(&rejection.body_text())))?;
        let limit = match query.limit.as_deref().map(str::parse) {
            None => LIMIT_DEFAULT,
            Some(Ok(limit)) if (1..=LIMIT_MAX).contains(&limit) => limit,
            Some(_) => return Err(Problem::malformed(format!("limit is from 1 to {LIMIT_MAX}")).with("field", "limit")),
        };
        let after = query.cursor.as_deref().map(Place::parse).transpose()?;
        Ok(Self { limit, after })
    }

    /// Rows to ask the database for: one more than the page tells that there is more, and the rest are those of the moment at
    /// which the page before ended.
    fn rows(&self) -> i64 {
        i64::try_from(self.limit + 1 + SAME_MOMENT_MAX).unwrap_or(i64::MAX)
    }

    /// Nothing after this moment is on the page.
    fn until(&self) -> Option<DateTime<Utc>> {
        self.after.as_ref().map(|place| place.at)
    }
}

/// Nothing before this moment is shown.
fn begins_at() -> DateTime<Utc> {
    Utc::now() - Duration::days(TERM_DAYS)
}

/// What an event's detail says, in words of the closed list.
fn words(detail: &Value) -> Vec<String> {
    let said = [
        "methods", "method", "factor", "provider", "reason", "by", "format", "key",
    ]
    .into_iter()
    .filter_map(|name| detail.get(name));
    said.flat_map(|value| match value {
        Value::Array(values) => values.iter().collect::<Vec<_>>(),
        value => vec![value],
    })
    .filter_map(Value::as_str)
    .filter(|word| WORDS.contains(word))
    .map(str::to_owned)
    .collect()
}

fn device_of(detail: &Value) -> Option<String> {
    detail.get("device").and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_told_in_words_of_the_closed_list_only() {
        let detail = json!({
            "methods": ["pwd", "otp", "<b>"], "factor": "totp", "name": "my key", "by": "somebody", "key": 7, "secret": "pwd",
        });
        assert_eq!(words(&detail), ["pwd", "otp", "totp"]);
        assert!(WORDS.is_sorted());
    }

    #[test]
    fn a_page_is_of_one_to_two_hundred() {
        let page = |limit: Option<&str>| {
            let query = PageQuery {
                limit: limit.map(str::to_owned),
                cursor: None,
            };
            Page::of(Ok(Query(query))).map(|page| page.limit).ok()
        };
        let limits = [
            None,
            Some("1"),
            Some("200"),
            Some("0"),
            Some("201"),
            Some("-1"),
            Some("x"),
        ]
        .map(page);
        assert_eq!(limits, [Some(50), Some(1), Some(200), None, None, None, None]);
    }
}
