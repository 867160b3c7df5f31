//! Headers that keep browsers from doing more with an answer than was meant.

use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

/// What kind of answer a path has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// Our start page, which has a style of its own.
    Home,
    /// The browser of the API, whose scripts are ours and whose styles are inline.
    Docs,
    /// Somebody's data, or a refusal of it.
    Data,
    /// What everybody may see: health, figures.
    Other,
}

impl Page {
    pub fn of(path: &str) -> Self {
        match path {
            "/" => Self::Home,
            _ if path.starts_with("/api/docs") => Self::Docs,
            _ if path.starts_with("/api/") => Self::Data,
            _ => Self::Other,
        }
    }
}

/// The start page's style is the only one it may have, named by its hash.
static HOME_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = crate::http::HOME
        .split_once("<style>")
        .and_then(|(_, rest)| rest.split_once("</style>"));
    let hash = BASE64_STANDARD.encode(Sha256::digest(style.map_or("", |(style, _)| style)));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).unwrap_or_else(|_| HeaderValue::from_static(DATA_POLICY))
});
/// Data loads nothing, whatever somebody manages to write into it.
const DATA_POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Scripts are ours alone; the browser of the API styles its elements inline, which no hash can name.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline'; \
                           img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const ALWAYS: [(&str, &str); 6] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), \
         midi=(), payment=(), usb=()",
    ),
];
/// A year, as browsers' lists of such hosts ask for.
const HTTPS_ONLY: &str = "max-age=31536000; includeSubDomains";

/// Adds what a handler has not said itself.
pub fn dress(headers: &mut HeaderMap, page: Page, by_https: bool) {
    for (name, value) in ALWAYS {
        say(headers, HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let policy = match page {
        Page::Home => HOME_POLICY.clone(),
        Page::Docs => HeaderValue::from_static(DOCS_POLICY),
        Page::Data | Page::Other => HeaderValue::from_static(DATA_POLICY),
    };
    say(headers, header::CONTENT_SECURITY_POLICY, policy);
    if page == Page::Data {
        say(headers, header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    // Said over plain HTTP it counts for nothing.
    if by_https {
        say(
            headers,
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static(HTTPS_ONLY),
        );
    }
}

fn say(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    headers.entry(name).or_insert(value);
}
