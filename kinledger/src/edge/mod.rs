//! The edge: what stands between a stranger and every route.
//!
//! In the order a request meets it: the head's limits, where it comes from, whether its page may ask at all (CORS), and how much
//! was asked for lately. On the way back every answer gets the headers that keep browsers from doing more with it than was meant.
//! [ADR 0036](../../../docs/adr/0036-the-edge.md) has the reasons.

mod browsers;
mod cors;
mod rates;
pub mod tls;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use anyhow::{Context, Result};
use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use clap::Args;
use service_kit::{
    address::{ClientAddress, Network, behind_proxies, is_https_before_proxy},
    auth::TokenVerifier,
    problem::Problem,
};
use tower_http::cors::CorsLayer;

use self::rates::{Asking, RateLimits, Rates};

/// Longest address of a request, in bytes.
pub const URL_BYTES_MAX: usize = 8 * 1024;
/// Longest head of a request less its address, in bytes of names and values.
pub const HEADERS_BYTES_MAX: usize = 32 * 1024;

/// Where figures are told.
const METRICS: &str = "/metrics";

/// A request came by TLS that ended in this process.
#[derive(Clone, Copy)]
pub struct ByTls;

/// Who may ask how much, and from where.
#[derive(Clone, Debug, Args)]
pub struct EdgeOptions {
    /// Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, as networks with commas: 10.0.0.0/8,fd00::/8.
    #[arg(long, env = "KINLEDGER_TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<Network>,
    /// Requests a minute: `on`, `off`, or what differs from the defaults, as in auth/address=300,heavy/person=60. Classes are
    /// auth, commands, reads, heavy; counted are address, person, family; 0 is no limit.
    #[arg(long, env = "KINLEDGER_RATE_LIMITS", default_value = "on")]
    rate_limits: RateLimits,
    /// Networks whose addresses are counted for signing in only.
    #[arg(
        long,
        env = "KINLEDGER_RATE_LIMITS_EXCEPT",
        value_delimiter = ',',
        default_value = "127.0.0.0/8,::1"
    )]
    rate_limits_except: Vec<Network>,
    /// Networks whose addresses are told /metrics; to others it is not there. An address behind a proxy is the client's.
    #[arg(
        long,
        env = "KINLEDGER_METRICS_FOR",
        value_delimiter = ',',
        default_value = "127.0.0.0/8,::1"
    )]
    metrics_for: Vec<Network>,
    /// Web pages of other origins that may ask, exactly as browsers name them, with commas: https://app.example.org.
    #[arg(long, env = "KINLEDGER_CORS_ORIGINS", value_delimiter = ',')]
    cors_origins: Vec<cors::PageOrigin>,
}

/// What every request passes.
pub struct Edge {
    trusted_proxies: Vec<Network>,
    metrics_for: Vec<Network>,
    rates: Option<Rates>,
    verifier: Option<Arc<TokenVerifier>>,
    cors: Option<CorsLayer>,
}

impl Edge {
    /// Persons are counted where there is a `verifier` to tell them, and together with other processes where there is Redis.
    ///
    /// # Errors
    /// When the address of Redis does not parse.
    pub fn try_new(
        options: &EdgeOptions,
        verifier: Option<Arc<TokenVerifier>>,
        redis_url: Option<&str>,
    ) -> Result<Self> {
        let rates = options.rate_limits.0.map(|limits| {
            let rates = Rates::new(limits, options.rate_limits_except.clone());
            match redis_url {
                Some(url) => rates.shared(url).context("REDIS_URL is no address of Redis"),
                None => Ok(rates),
            }
        });
        Ok(Self {
            trusted_proxies: options.trusted_proxies.clone(),
            metrics_for: options.metrics_for.clone(),
            rates: rates.transpose()?,
            verifier,
            cors: cors::layer(&options.cors_origins),
        })
    }

    /// What lets pages of other origins ask, if any may.
    pub fn cors(&self) -> Option<CorsLayer> {
        self.cors.clone()
    }

    /// What is counted would tell a stranger more than any answer does: whether their request had a mail sent, for one.
    fn tells_metrics(&self, address: Option<IpAddr>) -> bool {
        address.is_some_and(|address| self.metrics_for.iter().any(|network| network.contains(address)))
    }

    fn came_by_https(&self, request: &Request) -> bool {
        let proxied = |peer: IpAddr| is_https_before_proxy(peer, request.headers(), &self.trusted_proxies);
        request.extensions().get::<ByTls>().is_some() || peer(request).is_some_and(proxied)
    }
}

fn peer(request: &Request) -> Option<IpAddr> {
    let info = request.extensions().get::<ConnectInfo<SocketAddr>>();
    info.map(|info| info.0.ip())
}

/// Refuses what is too long or too much, and tells the rest who asks.
pub async fn guard(State(edge): State<Arc<Edge>>, mut request: Request, next: Next) -> Response {
    if let Some(problem) = too_long(&request) {
        return problem.into_response();
    }
    let address = peer(&request).map(|peer| behind_proxies(peer, request.headers(), &edge.trusted_proxies));
    if let Some(address) = address {
        request.extensions_mut().insert(ClientAddress(address));
    }
    if request.uri().path() == METRICS && !edge.tells_metrics(address) {
        return crate::http::nothing_here().into_response();
    }
    let Some(rates) = &edge.rates else {
        return next.run(request).await;
    };
    let asking = Asking {
        address,
        person: edge
            .verifier
            .as_ref()
            .and_then(|verifier| verifier.counted_as(request.headers())),
    };
    rates.limit(asking, request, next).await
}

/// Gives every answer what browsers need to be told.
pub async fn dress(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    let by_https = edge.came_by_https(&request);
    let page = browsers::Page::of(request.uri().path());
    let mut response = next.run(request).await;
    browsers::dress(response.headers_mut(), page, by_https);
    response
}

fn too_long(request: &Request) -> Option<Problem> {
    let uri = request.uri();
    let url_bytes = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    if url_bytes > URL_BYTES_MAX {
        let detail = format!("the address of a request may have at most {URL_BYTES_MAX} bytes");
        return Some(Problem::new(StatusCode::URI_TOO_LONG, "address-too-long", detail));
    }
    if bytes_of(request.headers()) > HEADERS_BYTES_MAX {
        let detail = format!("the headers of a request may have at most {HEADERS_BYTES_MAX} bytes");
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Some(Problem::new(status, "headers-too-large", detail));
    }
    None
}

fn bytes_of(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum()
}
