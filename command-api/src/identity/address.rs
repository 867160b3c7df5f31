//! Where a request comes from, as far as that can be believed.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, request::Parts},
};
use service_kit::address::{behind_proxies, one_household};

use super::{Identity, devices};

/// The device a request comes from: its address when that is known, and what it calls itself.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub address: Option<IpAddr>,
    pub device: String,
    /// The SHA-256 of each device token it shows; a browser that several people share has one of each. See `devices`.
    pub device_hashes: Vec<[u8; 32]>,
}

impl FromRequestParts<Identity> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, identity: &Identity) -> Result<Self, Infallible> {
        let peer = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|info| info.0.ip());
        let address = peer.map(|peer| behind_proxies(peer, &parts.headers, identity.trusted_proxies()));
        Ok(Self {
            address: address.map(one_household),
            device: device(&parts.headers),
            device_hashes: devices::shown(&parts.headers),
        })
    }
}

fn device(headers: &HeaderMap) -> String {
    let agent = headers
        .get("user-agent")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let agent: String = agent.chars().filter(|c| !c.is_control()).take(200).collect();
    if agent.is_empty() {
        "unnamed device".to_owned()
    } else {
        agent
    }
}
