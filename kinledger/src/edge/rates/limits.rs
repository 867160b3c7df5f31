//! How much of what somebody may ask for, in a minute.

use std::str::FromStr;

use anyhow::{Context, Result, bail};
use axum::http::Method;

/// A minute: what a quota is counted over, and how long a spent one takes to be whole again.
pub const WINDOW_S: u64 = 60;

/// What is asked for. Each class has counts of its own, so that a burst of one leaves the others alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Signing in, and everything about accounts and sessions that changes something.
    Auth,
    /// What changes a family's ledger.
    Commands,
    /// Views.
    Reads,
    /// Imports, exports and replays.
    Heavy,
}

/// Who is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// A network address; of IPv6 its /64.
    Address,
    /// A signed-in person.
    Person,
    /// A family, over all of its members.
    Family,
}

impl Class {
    const ALL: [Self; 4] = [Self::Auth, Self::Commands, Self::Reads, Self::Heavy];

    /// Its name in settings and headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Commands => "commands",
            Self::Reads => "reads",
            Self::Heavy => "heavy",
        }
    }

    /// What a request asks for. Health and figures are not counted: who watches over the process must always be answered.
    pub fn of(method: &Method, path: &str) -> Option<Self> {
        if ["/healthz", "/readyz", "/metrics"].contains(&path) {
            return None;
        }
        let is_read = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let usual = if is_read { Self::Reads } else { Self::Commands };
        let mut segments = path.strip_prefix("/api/v1/").unwrap_or_default().split('/');
        Some(match (segments.next(), segments.next(), segments.next()) {
            (Some("auth"), ..) if !is_read => Self::Auth,
            (Some("auth"), Some("export"), None) => Self::Heavy,
            (Some("families"), _, Some("members")) if is_read && path.ends_with("/export") => Self::Heavy,
            (Some("families"), _, Some("audit" | "as-of" | "export" | "exports")) => Self::Heavy,
            (Some("families"), _, Some("imports")) if !is_read => Self::Heavy,
            _ => usual,
        })
    }
}

impl Scope {
    const ALL: [Self; 3] = [Self::Address, Self::Person, Self::Family];

    /// Its name in settings and headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Person => "person",
            Self::Family => "family",
        }
    }
}

/// Requests a minute, by class and scope; 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits([[u32; 3]; 4]);

impl Default for Limits {
    /// Far above what a household does, or a school behind one address; far below what would keep everybody else out.
    fn default() -> Self {
        //    address  person  family
        Self([
            [1_200, 600, 0],            // auth
            [120_000, 60_000, 120_000], // commands
            [120_000, 60_000, 120_000], // reads
            [6_000, 3_000, 6_000],      // heavy
        ])
    }
}

impl Limits {
    /// Requests a minute; none when there is no limit.
    pub fn of(&self, class: Class, scope: Scope) -> Option<u32> {
        Some(self.0[class as usize][scope as usize]).filter(|quota| *quota > 0)
    }
}

/// The limits, as an operator says them: `on`, `off`, or what differs from the defaults as in `auth/address=300,heavy/person=60`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits(pub Option<Limits>);

impl FromStr for RateLimits {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut limits = Limits::default();
        match text.trim() {
            "off" => return Ok(Self(None)),
            "on" | "" => return Ok(Self(Some(limits))),
            _ => {}
        }
        for change in text.split(',') {
            let wrong = || format!("'{}' is no limit like auth/address=300", change.trim());
            let (place, quota) = change.trim().split_once('=').with_context(wrong)?;
            let (class, scope) = place.trim().split_once('/').with_context(wrong)?;
            let class = Class::ALL.into_iter().find(|known| known.as_str() == class);
            let scope = Scope::ALL.into_iter().find(|known| known.as_str() == scope);
            let (Some(class), Some(scope)) = (class, scope) else {
                bail!(
                    "{}: classes are auth, commands, reads, heavy; counted are address, person, family",
                    wrong()
                );
            };
            limits.0[class as usize][scope as usize] = quota.trim().parse().with_context(wrong)?;
        }
        Ok(Self(Some(limits)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_request_has_its_class() {
        let family = "/api/v1/families/fam_1";
        for (method, path, class) in [
            (Method::POST, "/api/v1/auth/login".to_owned(), Some(Class::Auth)),
            (Method::DELETE, "/api/v1/auth/sessions/1".to_owned(), Some(Class::Auth)),
            (Method::GET, "/api/v1/auth/profile".to_owned(), Some(Class::Reads)),
            (
                Method::POST,
                format!("{family}/commands/add-expense"),
                Some(Class::Commands),
            ),
            (Method::POST, format!("{family}/commands"), Some(Class::Commands)),
            (Method::POST, "/api/v1/families".to_owned(), Some(Class::Commands)),
            (Method::GET, format!("{family}/commands/1"), Some(Class::Reads)),
            (Method::GET, format!("{family}/dashboard"), Some(Class::Reads)),
            (Method::GET, format!("{family}/imports"), Some(Class::Reads)),
            (Method::POST, format!("{family}/imports"), Some(Class::Heavy)),
            (Method::GET, format!("{family}/audit/export"), Some(Class::Heavy)),
            (
                Method::GET,
                format!("{family}/members/mem_1/export"),
                Some(Class::Heavy),
            ),
            (Method::GET, "/api/v1/auth/export".to_owned(), Some(Class::Heavy)),
            (Method::GET, format!("{family}/as-of/dashboard"), Some(Class::Heavy)),
            (Method::GET, "/".to_owned(), Some(Class::Reads)),
            (Method::GET, "/api/docs/".to_owned(), Some(Class::Reads)),
            (Method::GET, "/readyz".to_owned(), None),
        ] {
            assert_eq!(Class::of(&method, &path), class, "{method} {path}");
        }
    }

    #[test]
    fn limits_are_changed_one_by_one_or_switched_off() {
        let limits = |text: &str| text.parse::<RateLimits>().map(|limits| limits.0);
        assert_eq!(limits("on").unwrap(), Some(Limits::default()));
        assert_eq!(limits("off").unwrap(), None);
        let changed = limits("auth/address=30, heavy/family=0").unwrap().unwrap();
        assert_eq!(changed.of(Class::Auth, Scope::Address), Some(30));
        assert_eq!(changed.of(Class::Heavy, Scope::Family), None);
        assert_eq!(changed.of(Class::Reads, Scope::Person), Some(60_000));
        for wrong in ["auth=3", "auth/address", "auth/planet=3", "auth/address=-1", "none"] {
            assert!(limits(wrong).is_err(), "{wrong}");
        }
    }
}
