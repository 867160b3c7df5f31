//! Rate limits: by network address, by signed-in person and by family, for each class of requests.
//!
//! - An address is counted always, a person when the token is one of ours (an API key counts as one by itself), and a family for
//!   those it has answered before. So a stranger who guesses a family's name can neither spend its quota nor learn from a refusal
//!   that it exists.
//! - Addresses of this machine are the operator's, or a proxy's; they are counted for signing in only.
//! - What is refused is charged to nobody. A large body costs as much as several requests, since it holds as many.
//! - `RateLimit` (draft-ietf-httpapi-ratelimit-headers) tells a person what is left of their own quota, and a stranger what is left
//!   of their address's. What is left of a family's would tell of what its other members do.
//! - Counts are in Redis where parts run apart, and in memory otherwise or while Redis is away.

mod limits;
mod memory;
mod redis;

use std::net::IpAddr;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use domain::id::{FamilyId, UserId};
use quick_cache::sync::Cache;
use service_kit::{
    address::{Network, is_trusted, one_household},
    problem::Problem,
};

use self::{
    limits::{Class, Limits, Scope, WINDOW_S},
    memory::MemoryCounts,
    redis::RedisCounts,
};

pub use limits::RateLimits;

/// What a quota is counted over, in microseconds.
const WINDOW_US: u64 = WINDOW_S * 1_000_000;
/// So many bytes of a body count as one request more.
const BYTES_A_REQUEST: u64 = 16 * 1024;
/// A body that does not say its length counts as one of so many bytes.
const BYTES_UNSAID: u64 = 256 * 1024;
/// Members who are known to be in their family, at most; who is forgotten is counted with it one answer later.
const MEMBERS_MAX: usize = 65_536;

/// One count, and what a request adds to it.
pub struct Charge {
    key: String,
    cost_us: u64,
}

/// What the counts say.
pub enum Counted {
    /// All were charged, and owe so much now, in their order.
    Admitted { owed_us: Vec<u64> },
    /// This one is over its quota for so long; none was charged.
    Refused { index: usize, wait_us: u64 },
}

/// The limits of a process.
pub struct Rates {
    limits: Limits,
    uncounted: Vec<Network>,
    memory: MemoryCounts,
    shared: Option<RedisCounts>,
    members: Cache<(UserId, FamilyId), ()>,
}

/// Who asks for what.
pub struct Asking {
    pub address: Option<IpAddr>,
    pub person: Option<UserId>,
}

struct Quota {
    class: Class,
    scope: Scope,
    requests: u32,
}

impl Rates {
    /// Counts in memory.
    pub fn new(limits: Limits, uncounted: Vec<Network>) -> Self {
        Self {
            limits,
            uncounted,
            memory: MemoryCounts::new(),
            shared: None,
            members: Cache::new(MEMBERS_MAX),
        }
    }

    /// Counts in Redis, together with other processes.
    ///
    /// # Errors
    /// When the address does not parse.
    pub fn shared(mut self, redis_url: &str) -> Result<Self, ::redis::RedisError> {
        self.shared = Some(RedisCounts::try_new(redis_url)?);
        Ok(self)
    }

    /// Lets a request pass and tells what is left, or answers 429.
    pub async fn limit(&self, asking: Asking, request: Request, next: Next) -> Response {
        let Some(class) = Class::of(request.method(), request.uri().path()) else {
            return next.run(request).await;
        };
        let family = family_of(request.uri().path());
        let member = asking.person.zip(family);
        let is_member = member.is_some_and(|member| self.members.get(&member).is_some());
        let cost = cost(request.headers());
        let (mut quotas, mut charges) = (Vec::with_capacity(3), Vec::with_capacity(3));
        let mut count = |scope: Scope, name: String| {
            if let Some(requests) = self.limits.of(class, scope) {
                charges.push(Charge {
                    key: format!("{}/{}/{name}", class.as_str(), scope.as_str()),
                    cost_us: (cost * WINDOW_US / u64::from(requests)).min(WINDOW_US),
                });
                quotas.push(Quota { class, scope, requests });
            }
        };
        if let Some(person) = asking.person {
            count(Scope::Person, person.to_string());
        }
        if let Some(address) = asking.address.filter(|address| self.counts_address(class, *address)) {
            count(Scope::Address, one_household(address).to_string());
        }
        if let Some(family) = family.filter(|_| is_member) {
            count(Scope::Family, family.to_string());
        }
        let owed_us = match self.charge(&charges).await {
            Counted::Admitted { owed_us } => owed_us,
            Counted::Refused { index, wait_us } => return quotas[index].refusal(wait_us),
        };
        let mut response = next.run(request).await;
        if let Some(member) = member {
            self.note(member, is_member, class, response.status()).await;
        }
        if let (Some(quota), Some(owed_us)) = (quotas.first(), owed_us.first()) {
            quota.tell(response.headers_mut(), *owed_us);
        }
        response
    }

    fn counts_address(&self, class: Class, address: IpAddr) -> bool {
        class == Class::Auth || !is_trusted(address, &self.uncounted)
    }

    async fn charge(&self, charges: &[Charge]) -> Counted {
        if let Some(shared) = &self.shared
            && let Some(counted) = shared.charge(charges).await
        {
            return counted;
        }
        self.memory.charge(charges)
    }

    /// Whom the family has answered counts with it from now on; whom it does not know, no longer.
    async fn note(&self, member: (UserId, FamilyId), was_member: bool, class: Class, status: StatusCode) {
        if status == StatusCode::NOT_FOUND {
            self.members.remove(&member);
        } else if !was_member && (status.is_success() || status == StatusCode::NOT_MODIFIED) {
            self.members.insert(member, ());
            if let Some(requests) = self.limits.of(class, Scope::Family) {
                let first = Charge {
                    key: format!("{}/{}/{}", class.as_str(), Scope::Family.as_str(), member.1),
                    cost_us: WINDOW_US / u64::from(requests),
                };
                drop(self.charge(&[first]).await);
            }
        }
    }
}

impl Quota {
    fn name(&self) -> String {
        format!("{}-{}", self.class.as_str(), self.scope.as_str())
    }

    fn tell(&self, headers: &mut HeaderMap, owed_us: u64) {
        let left = WINDOW_US.saturating_sub(owed_us) * u64::from(self.requests) / WINDOW_US;
        let policy = format!("\"{}\";q={};w={WINDOW_S}", self.name(), self.requests);
        let state = format!("\"{}\";r={left};t={}", self.name(), owed_us.div_ceil(1_000_000));
        for (name, value) in [("ratelimit-policy", policy), ("ratelimit", state)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
    }

    fn refusal(&self, wait_us: u64) -> Response {
        metrics::counter!(
            "kinledger_rate_limited_total", "class" => self.class.as_str(), "scope" => self.scope.as_str()
        )
        .increment(1);
        let seconds = u32::try_from(wait_us.div_ceil(1_000_000)).unwrap_or(u32::MAX).max(1);
        let whose = match self.scope {
            Scope::Address => "from this network address",
            Scope::Person => "by this person",
            Scope::Family => "in this family",
        };
        let detail = format!(
            "more than {} requests a minute {whose}; try again in {seconds} s",
            self.requests
        );
        let mut response = Problem::too_fast(seconds, detail)
            .with("violated-policies", vec![self.name()])
            .into_response();
        let headers = response.headers_mut();
        self.tell(headers, WINDOW_US);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// How many requests a request is, by the length of its body.
fn cost(headers: &HeaderMap) -> u64 {
    let said = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let unsaid = || headers.contains_key(header::TRANSFER_ENCODING).then_some(BYTES_UNSAID);
    1 + said.or_else(unsaid).unwrap_or(0).min(1 << 40) / BYTES_A_REQUEST
}

fn family_of(path: &str) -> Option<FamilyId> {
    let rest = path.strip_prefix("/api/v1/families/")?;
    rest.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests;
