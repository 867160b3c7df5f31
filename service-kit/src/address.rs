//! Where a request comes from, as far as that can be believed.
//!
//! A connection's other end is known; whom it speaks for is hearsay. `X-Forwarded-For` counts only as far as the proxies go that
//! the operator named: read from its end, each hop is believed because the one after it is ours, and the first that is not ours
//! is the client. Whatever a client writes into the header itself stands left of that and is never reached.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use axum::http::HeaderMap;
use serde::{Deserialize, Deserializer, de};

/// Proxies looked through at most.
const HOPS_MAX: usize = 16;

/// A network in CIDR form, as in `10.0.0.0/8`; a bare address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Is the address in it? An IPv4 address written as an IPv6 one counts as what it is.
    pub fn contains(&self, address: IpAddr) -> bool {
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

/// The address a request comes from, put among its extensions at the edge of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// Is the address one of a proxy whose word counts?
pub fn is_trusted(address: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

/// The nearest address that no proxy of ours wrote down about itself. A header from anybody else is ignored.
pub fn behind_proxies(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let mut address = peer;
    if !is_trusted(address, trusted) {
        return address.to_canonical();
    }
    let forwarded: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        // A value that is no text hides what stands left of it.
        .flat_map(|value| value.to_str().unwrap_or("?").split(','))
        .collect();
    for hop in forwarded.iter().rev().take(HOPS_MAX) {
        if !is_trusted(address, trusted) {
            break;
        }
        match hop_address(hop.trim()) {
            Some(next) => address = next,
            None => break,
        }
    }
    address.to_canonical()
}

/// Some proxies write the port too.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    hop.parse().ok().or_else(with_port)
}

/// Did the client speak TLS to the proxy in front of us?
pub fn is_https_before_proxy(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> bool {
    let mut said = headers.get_all("x-forwarded-proto").iter();
    let is_https = said
        .next()
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"https"));
    is_https && said.next().is_none() && is_trusted(peer, trusted)
}

/// An IPv6 customer holds a /64 at least; counting single addresses there would count nothing.
pub fn one_household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn forwarded(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-forwarded-for", HeaderValue::from_static(value));
        }
        headers
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
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let seen = |peer: &str, values: &[&'static str]| behind_proxies(address(peer), &forwarded(values), &trusted);
        // What the client wrote itself stands left of what our proxies wrote, and is not reached.
        for values in [
            &["6.6.6.6, 203.0.113.9, 10.0.0.2"][..],
            &["6.6.6.6", "203.0.113.9", "10.0.0.2"],
        ] {
            assert_eq!(seen("10.0.0.1", values), address("203.0.113.9"));
            assert_eq!(seen("198.51.100.1", values), address("198.51.100.1"));
        }
        assert_eq!(seen("10.0.0.1", &["203.0.113.9:4711"]), address("203.0.113.9"));
        assert_eq!(seen("10.0.0.1", &["[2001:db8::7]:4711"]), address("2001:db8::7"));
        // A proxy that says nothing, or nothing that can be read, speaks for itself.
        assert_eq!(seen("10.0.0.1", &[]), address("10.0.0.1"));
        assert_eq!(seen("10.0.0.1", &["203.0.113.9, unknown"]), address("10.0.0.1"));
        assert_eq!(seen("10.0.0.1", &["127.0.0.1, 10.9.9.9"]), address("127.0.0.1"));
    }

    #[test]
    fn https_is_believed_of_a_trusted_proxy_that_says_it_once() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-proto", HeaderValue::from_static("HTTPS"));
        assert!(is_https_before_proxy(address("10.0.0.1"), &headers, &trusted));
        assert!(!is_https_before_proxy(address("203.0.113.9"), &headers, &trusted));
        headers.append("x-forwarded-proto", HeaderValue::from_static("http"));
        assert!(!is_https_before_proxy(address("10.0.0.1"), &headers, &trusted));
    }

    #[test]
    fn addresses_of_one_customer_count_as_one() {
        assert_eq!(one_household(address("2001:db8:1:2:3::4")), address("2001:db8:1:2::"));
        assert_eq!(one_household(address("::ffff:192.0.2.1")), address("192.0.2.1"));
    }
}
