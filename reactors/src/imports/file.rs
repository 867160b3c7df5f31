//! The file of an import request, and what was said about it.

use axum::{
    body::to_bytes,
    extract::{FromRequest, Multipart, Request},
    http::{StatusCode, header},
};
use connectors::banks::statement_file::{FILE_BYTES_MAX, Options, Reading, StatementError};
use domain::id::AccountId;
use service_kit::problem::Problem;
use sha2::{Digest, Sha256};

/// What the query string says.
pub(super) struct Query {
    pub account_id: AccountId,
    pub statement_account: Option<String>,
    pub skip_broken: bool,
    pub options: Options,
}

impl Query {
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let (mut account_id, mut statement_account, mut skip_broken) = (None, None, false);
        let mut rest = Vec::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            match name.as_str() {
                "account_id" => {
                    let id = value
                        .parse()
                        .map_err(|_| Problem::malformed("account_id is an id like acc_<uuid>"))?;
                    account_id = Some(id);
                }
                "statement_account" => statement_account = Some(value),
                "skip_broken" => {
                    skip_broken = value
                        .parse()
                        .map_err(|_| Problem::malformed("skip_broken is true or false"))?;
                }
                _ => rest.push((name, value)),
            }
        }
        let pairs = rest.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let options = Options::from_pairs(pairs).map_err(|error| Problem::malformed(error.to_string()))?;
        let account_id =
            account_id.ok_or_else(|| Problem::malformed("say which account the statement is of: ?account_id=acc_…"))?;
        Ok(Self {
            account_id,
            statement_account,
            skip_broken,
            options,
        })
    }
}

/// Percent-decoding of a query part; `+` is a space.
fn decoded(text: &str) -> Result<String, Problem> {
    let bad = || Problem::malformed("the query string is not percent-encoded UTF-8");
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let pair = bytes
                    .get(at + 1..at + 3)
                    .and_then(|pair| std::str::from_utf8(pair).ok())
                    .ok_or_else(bad)?;
                out.push(u8::from_str_radix(pair, 16).map_err(|_| bad())?);
                at += 3;
            }
            b'+' => {
                out.push(b' ');
                at += 1;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).map_err(|_| bad())
}

/// The file's bytes: the body itself, or the first file of a form.
pub(super) async fn bytes(request: Request) -> Result<Vec<u8>, Problem> {
    let too_large = || {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            format!("a file may have at most {FILE_BYTES_MAX} bytes"),
        )
    };
    let is_form = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.to_ascii_lowercase().starts_with("multipart/form-data"));
    if !is_form {
        return to_bytes(request.into_body(), FILE_BYTES_MAX)
            .await
            .map(|bytes| bytes.to_vec())
            .map_err(|_| too_large());
    }
    let malformed = |error: String| Problem::malformed(format!("the form cannot be read: {error}"));
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|error| malformed(error.to_string()))?;
    let field = form.next_field().await.map_err(|error| malformed(error.to_string()))?;
    let field = field.ok_or_else(|| Problem::malformed("the form holds no file"))?;
    let bytes = field.bytes().await.map_err(|error| malformed(error.to_string()))?;
    if bytes.len() > FILE_BYTES_MAX {
        Err(too_large())
    } else {
        Ok(bytes.to_vec())
    }
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Reads the file; nothing of one that cannot be read is booked.
pub(super) fn read(bytes: &[u8], options: &Options) -> Result<Reading, Problem> {
    connectors::banks::statement_file::read(bytes, options).map_err(|error| {
        let (status, code) = match &error {
            StatementError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
            StatementError::Option(_) => (StatusCode::BAD_REQUEST, "malformed"),
            _ => (StatusCode::UNPROCESSABLE_ENTITY, "unreadable-statement"),
        };
        Problem::new(status, code, error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_the_account_and_how_to_read_the_file() {
        let id = "acc_01890a5d-ac96-774b-bcce-b302099a8057";
        let query = Query::parse(&format!(
            "account_id={id}&csv.delimiter=%3B&currency=EUR&skip_broken=true"
        ))
        .expect("a query");
        assert_eq!(query.account_id.to_string(), id);
        assert_eq!(query.options.csv.delimiter.as_deref(), Some(";"));
        assert!(query.skip_broken);
        for wrong in [
            "",
            "account_id=x",
            "account_id=%",
            &format!("account_id={id}&colour=red"),
            &format!("account_id={id}&x=%ff"),
        ] {
            assert!(Query::parse(wrong).is_err(), "{wrong}");
        }
    }
}
