//! Where a request comes from, as far as that can be believed.

use std::{
    convert::Infallible,
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, request::Parts},
};
use serde::{Deserialize, Deserializer, de};

use super::Identity;

/// A network in CIDR form, as in `10.0.0.0/8`; a bare address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let shift = 32 - u32::from(self.prefix_bits);
                (u64::from(ours.to_bits()) >> shift) == (u64::from(theirs.to_bits()) >> shift)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) if self.prefix_bits > 0 => {
                let shift = 128 - u32::from(self.prefix_bits);
                (ours.to_bits() >> shift) == (theirs.to_bits() >> shift)
            }
            (IpAddr::V6(_), IpAddr::V6(_)) => true,
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "'{}' is no network like 10.0.0.0/8",
                text.chars().take(50).collect::<String>()
            )
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().map_err(|_| wrong())?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            Some(prefix) => prefix
                .trim()
                .parse()
                .ok()
                .filter(|bits| *bits <= bits_max)
                .ok_or_else(wrong)?,
            None => bits_max,
        };
        Ok(Self { address, prefix_bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The device a request comes from: its address when that is known, and what it calls itself.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub address: Option<IpAddr>,
    pub device: String,
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
        })
    }
}

/// The nearest address that no proxy of ours wrote down about itself. A header from anybody else is ignored.
fn behind_proxies(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let forwarded: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    let mut address = peer;
    for hop in forwarded.iter().rev().take(16) {
        if !is_trusted(address) {
            break;
        }
        match hop.trim().parse() {
            Ok(next) => address = next,
            Err(_) => break,
        }
    }
    address
}

/// An IPv6 customer holds a /64 at least; counting single addresses there would count nothing.
fn one_household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
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

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_contains_its_own() {
        let network: Network = "10.1.0.0/16".parse().unwrap();
        assert!(network.contains(address("10.1.255.1")));
        assert!(network.contains(address("::ffff:10.1.2.3")));
        assert!(!network.contains(address("10.2.0.1")));
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains(address("8.8.8.8")));
        assert!("::/0".parse::<Network>().unwrap().contains(address("2001:db8::1")));
        assert!("10.0.0.0/33".parse::<Network>().is_err());
    }

    #[test]
    fn only_a_trusted_proxy_says_who_is_behind_it() {
        let mut headers = HeaderMap::new();
        headers.insert(
            "x-forwarded-for",
            HeaderValue::from_static("6.6.6.6, 203.0.113.9, 10.0.0.2"),
        );
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        assert_eq!(
            behind_proxies(address("10.0.0.1"), &headers, &trusted),
            address("203.0.113.9")
        );
        assert_eq!(
            behind_proxies(address("198.51.100.1"), &headers, &trusted),
            address("198.51.100.1")
        );
    }
}
