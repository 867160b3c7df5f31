//! Pages of other origins: none may ask unless the operator names it, exactly. Credentials of the browser's own (cookies) are
//! never asked for: who signs in sends the token in a header, and a device that is known shows its own in `Kinledger-Device`, for
//! the cookie that keeps it goes to our pages only.

use std::{str::FromStr, time::Duration};

use anyhow::{Result, bail};
use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use tower_http::cors::CorsLayer;

/// How long a browser may remember that a page may ask.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);

/// An origin as browsers name it: scheme, host, and the port unless it is the scheme's own.
#[derive(Clone, Debug)]
pub struct PageOrigin(HeaderValue);

impl FromStr for PageOrigin {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let wrong =
            "name each origin as browsers do, such as https://app.example.org: no star, no path, no default port";
        let Ok(uri) = text.parse::<Uri>() else { bail!(wrong) };
        let (Some(scheme @ ("https" | "http")), Some(host)) = (uri.scheme_str(), uri.host()) else {
            bail!(wrong)
        };
        let default_port = if scheme == "https" { 443 } else { 80 };
        let port = uri.port_u16().filter(|port| *port != default_port);
        let exact = match port {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        };
        if exact != text || text.contains('*') || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            bail!(wrong);
        }
        Ok(Self(HeaderValue::from_str(text)?))
    }
}

/// Lets the pages ask; none when there are none.
pub fn layer(origins: &[PageOrigin]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let asked = ["idempotency-key", "kinledger-device", "traceparent", "x-requested-with"].map(HeaderName::from_static);
    let told = ["ratelimit", "ratelimit-policy"].map(HeaderName::from_static);
    Some(
        CorsLayer::new()
            .allow_origin(origins.iter().map(|origin| origin.0.clone()).collect::<Vec<_>>())
            .allow_methods([
                Method::GET,
                Method::HEAD,
                Method::POST,
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
            ])
            .allow_headers(
                asked
                    .into_iter()
                    .chain([
                        header::AUTHORIZATION,
                        header::CONTENT_TYPE,
                        header::IF_MATCH,
                        header::IF_NONE_MATCH,
                    ])
                    .collect::<Vec<_>>(),
            )
            .expose_headers(
                told.into_iter()
                    .chain([
                        header::CONTENT_DISPOSITION,
                        header::ETAG,
                        header::LOCATION,
                        header::RETRY_AFTER,
                    ])
                    .collect::<Vec<_>>(),
            )
            .max_age(REMEMBERED_FOR),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_named_as_browsers_name_it_or_not_at_all() {
        for right in [
            "https://app.example.org",
            "http://localhost:5173",
            "https://app.example.org:8443",
        ] {
            assert!(right.parse::<PageOrigin>().is_ok(), "{right}");
        }
        for wrong in [
            "*",
            "https://*",
            "https://*.example.org",
            "https://app.example.org/",
            "https://app.example.org:443",
            "https://App.example.org",
            "app.example.org",
            "null",
            "file:///tmp",
            "https://ada@example.org",
            "",
        ] {
            assert!(wrong.parse::<PageOrigin>().is_err(), "{wrong}");
        }
    }
}
