//! ETags: one for each answer that can differ.
//!
//! An answer is a function of the family's rows (named by their `family_seq`, and by their generation, for rows that were wrong are
//! built again under the same number), the view with its parameters, the person who asks, the family's day, and this release. The
//! hash of those is the tag, so a match is told without reading the view.
//!
//! The chain hash would name the history as well, and a family that was restored comes to the same numbers another way. It is in the
//! keys of answers that are kept here, and in no tag: it follows from what is hidden from the person who asks too.

use axum::http::{HeaderMap, HeaderValue, header};
use chrono::{Datelike, NaiveDate};
use sha2::{Digest, Sha256};

use crate::view::Viewer;

/// The strong tag of an answer, in its quotes.
pub(crate) fn of(view: &str, query: &str, viewer: &Viewer) -> String {
    let day = |day: NaiveDate| day.num_days_from_ce().to_be_bytes();
    let (family, member) = (viewer.family_id.uuid(), viewer.member_id.uuid());
    let (family_seq, today, bound) = (
        viewer.family_seq.to_be_bytes(),
        day(viewer.today),
        viewer.effective_on.map(day),
    );
    let parts: [&[u8]; 10] = [
        env!("CARGO_PKG_VERSION").as_bytes(),
        view.as_bytes(),
        query.as_bytes(),
        family.as_bytes(),
        member.as_bytes(),
        viewer.role.as_str().as_bytes(),
        &family_seq,
        viewer.generation.as_bytes(),
        &today,
        bound.as_ref().map_or(&[], |bound| bound.as_slice()),
    ];
    hash(parts.into_iter())
}

/// What an answer is kept under: its tag, and the history it is of.
pub(crate) fn kept_as(etag: &str, viewer: &Viewer) -> String {
    hash([etag.as_bytes(), &viewer.chain_hash].into_iter())
}

/// The tag of an answer that is known already.
pub(crate) fn of_body(body: &[u8]) -> String {
    hash([body].into_iter())
}

fn hash<'a>(parts: impl Iterator<Item = &'a [u8]>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    format!("\"{}\"", hex::encode(&hasher.finalize()[..16]))
}

/// Does the client hold this answer already (RFC 9110, 13.1.2: weak comparison)?
pub(crate) fn is_held(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| {
            value
                .split(',')
                .map(str::trim)
                .any(|held| held == "*" || held.strip_prefix("W/").unwrap_or(held) == etag)
        })
}

/// The headers of every answer: it is private and kept nowhere on the way, nor on the disk of a shared computer. A client that
/// holds one in memory asks with its ETag.
pub(crate) fn headers(etag: &str) -> [(header::HeaderName, HeaderValue); 3] {
    let etag = HeaderValue::from_str(etag).unwrap_or_else(|_| HeaderValue::from_static("\"\""));
    [
        (header::ETAG, etag),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::VARY, HeaderValue::from_static("authorization")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_answer_is_found_in_a_list_and_weak() {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"a\", W/\"b\""));
        assert!(is_held(&headers, "\"a\""));
        assert!(is_held(&headers, "\"b\""));
        assert!(!is_held(&headers, "\"c\""));
    }
}
