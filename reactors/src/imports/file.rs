//! The file of an import request, and what was said about it.

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Multipart, Request},
    http::{StatusCode, header},
};
use connectors::banks::statement_file::{FILE_BYTES_MAX, Options, Reading, StatementError};
use domain::id::AccountId;
use service_kit::{
    bodies::{Bodies, Read},
    problem::Problem,
};
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

/// Bytes that a form has around its file, at most.
const FORM_BYTES_MAX: usize = 64 * 1024;

/// The file's bytes: the body itself, or the first file of a form; and the body that they lie in.
pub(super) async fn bytes(bodies: &Bodies, request: Request) -> Result<(Read, Bytes), Problem> {
    let is_form = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.to_ascii_lowercase().starts_with("multipart/form-data"));
    let (head, body) = request.into_parts();
    let bytes_max = FILE_BYTES_MAX + if is_form { FORM_BYTES_MAX } else { 0 };
    let body = bodies.read(&head.headers, body, bytes_max).await?;
    if !is_form {
        let bytes = body.bytes();
        return Ok((body, bytes));
    }
    let malformed = |error: String| Problem::malformed(format!("the form cannot be read: {error}"));
    let mut form = Multipart::from_request(Request::from_parts(head, Body::from(body.bytes())), &())
        .await
        .map_err(|error| malformed(error.to_string()))?;
    let field = form.next_field().await.map_err(|error| malformed(error.to_string()))?;
    let field = field.ok_or_else(|| Problem::malformed("the form holds no file"))?;
    let bytes = field.bytes().await.map_err(|error| malformed(error.to_string()))?;
    if bytes.len() > FILE_BYTES_MAX {
        let detail = format!("a file may have at most {FILE_BYTES_MAX} bytes");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail));
    }
    Ok((body, bytes))
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

    fn request(content_type: &str, body: Vec<u8>) -> Request {
        Request::post("/")
            .header(header::CONTENT_TYPE, content_type)
            .header(header::CONTENT_LENGTH, body.len())
            .body(body.into())
            .expect("a request")
    }

    #[tokio::test]
    async fn a_file_is_the_body_or_the_first_of_a_form_and_counts_until_it_is_let_go() {
        let bodies = Bodies::new(1, std::time::Duration::from_secs(5));
        let file = vec![b'x'; 100 * 1024];
        let (held, bytes_of_body) = bytes(&bodies, request("text/csv", file.clone())).await.expect("a body");
        assert_eq!(bytes_of_body, file);
        let second = bytes(&bodies, request("text/csv", file.clone())).await;
        assert_eq!(
            second.expect_err("one at a time").status(),
            StatusCode::TOO_MANY_REQUESTS
        );
        let small = bytes(&bodies, request("text/csv", b"small".to_vec())).await;
        assert_eq!(small.expect("small ones go on").1, "small");
        drop(held);
        let form = [
            b"--b\r\ncontent-disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n".as_slice(),
            &file,
            b"\r\n--b--\r\n",
        ];
        let (_held, bytes_of_form) = bytes(&bodies, request("multipart/form-data; boundary=b", form.concat()))
            .await
            .expect("a form");
        assert_eq!(bytes_of_form, file);
    }

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
