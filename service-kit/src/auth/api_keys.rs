//! Keys for programs: `Authorization: Bearer klk_…`, in every process.
//!
//! A key acts for the person who made it and never has more rights than they have in a family: it says who asks, and the family's
//! own state says what they may. It has less: only what its scopes name, in one family where it is bound to one, nothing under
//! `/api/v1/auth`, and nothing that asks for a fresh proof. The one exception of the last is `export`: who gives a key that scope
//! has proven themself for it when they made the key.
//!
//! Which scope a request needs follows from its method and path, in one place, [`Scope::needed`]; what is not named there takes no
//! key. Keys are looked up in the database and remembered for [`REMEMBERED_FOR`], so one that was ended is refused everywhere soon
//! after. Only those that were found are remembered, and few look-ups run at once.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::OriginalUri,
    http::{Method, StatusCode, request::Parts},
};
use domain::id::{FamilyId, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{SignedIn, TokenVerifier};
use crate::problem::Problem;

/// What every key begins with, so that one that leaked into a file can be found.
pub const API_KEY_PREFIX: &str = "klk_";
/// A key that was found is not looked up again for so long; one that was ended is refused everywhere after that.
const REMEMBERED_FOR: Duration = Duration::from_secs(2);
/// Keys remembered at most.
const REMEMBERED_MAX: usize = 10_000;
/// Look-ups at once.
const LOOKS_AT_ONCE: usize = 32;
/// How long a request waits for its look-up.
const LOOK_WITHIN: Duration = Duration::from_secs(2);
/// Longest text that is looked up, in bytes.
const KEY_BYTES_MAX: usize = 64;

/// What a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Views, past views, receipts and the auditor's reading routes.
    Read,
    /// Posting commands, except those that ask for a fresh proof.
    Commands,
    /// Importing statement files.
    Import,
    /// Exports and packs of a family's whole ledger.
    Export,
}

impl Scope {
    /// Its stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Commands => "commands",
            Self::Import => "import",
            Self::Export => "export",
        }
    }

    /// The scopes of which one is needed for a request; empty for what takes no key. `path` is that of a request, or of the API's
    /// document.
    pub fn needed(method: &Method, path: &str) -> &'static [Self] {
        let Some(rest) = path.strip_prefix("/api/v1/families") else {
            return &[];
        };
        let parts: Vec<&str> = rest.split('/').skip(1).collect();
        match (method.as_str(), parts.as_slice()) {
            ("GET", [_, "audit", "export" | "pack"]) => &[Self::Export],
            // Who signed in when, and all that is kept about somebody, is for people and not for programs.
            ("GET", [_, "security-events"] | [_, "members", _, "export"]) => &[],
            ("GET", _) => &[Self::Read],
            // An import is posted to the command side under the same key.
            ("POST", [_, "commands", "connect-bank" | "sync-bank"]) => &[Self::Commands, Self::Import],
            ("POST", [] | [_, "commands"] | [_, "commands", _]) => &[Self::Commands],
            ("POST", [_, "imports"]) => &[Self::Import],
            _ => &[],
        }
    }
}

/// A key that counts.
#[derive(Clone, Debug)]
struct Found {
    api_key_id: Uuid,
    user_id: UserId,
    family_id: Option<FamilyId>,
    scopes: Vec<String>,
    ends_at: Instant,
}

/// As the database's function tells of a key: its id, whose it is, the family it is for, its scopes, and how long it counts.
type Row = (Uuid, Uuid, Option<Uuid>, Vec<String>, i64);

/// The keys a process has seen lately.
pub(super) struct ApiKeys {
    found: Mutex<HashMap<[u8; 32], (Found, Instant)>>,
    looks: Semaphore,
}

impl ApiKeys {
    pub fn new() -> Self {
        Self {
            found: Mutex::default(),
            looks: Semaphore::new(LOOKS_AT_ONCE),
        }
    }

    async fn find(&self, pool: &PgPool, key: &str) -> Result<Option<Found>, Problem> {
        if key.len() > KEY_BYTES_MAX {
            return Ok(None);
        }
        let hash: [u8; 32] = Sha256::digest(key).into();
        if let Some(found) = self.remembered(&hash) {
            return Ok(Some(found));
        }
        let not_now = || Problem::unavailable(1, "API keys cannot be looked up just now; try again");
        let look = async {
            let _place = self.looks.acquire().await.ok()?;
            let looked_at = Instant::now();
            let rows: Result<Option<Row>, sqlx::Error> = sqlx::query_as(
                "select api_key_id, user_id, family_id, scopes, seconds_left from identity.use_api_key($1)",
            )
            .bind(hash.as_slice())
            .fetch_optional(pool)
            .await;
            match rows {
                Ok(row) => Some((row, looked_at)),
                Err(error) => {
                    tracing::warn!(error = %error, "an API key cannot be looked up");
                    None
                }
            }
        };
        let (row, looked_at) = tokio::time::timeout(LOOK_WITHIN, look)
            .await
            .ok()
            .flatten()
            .ok_or_else(not_now)?;
        let Some((api_key_id, user_id, family_id, scopes, seconds_left)) = row else {
            return Ok(None);
        };
        let found = Found {
            api_key_id,
            user_id: UserId::from_uuid(user_id),
            family_id: family_id.map(FamilyId::from_uuid),
            scopes,
            ends_at: looked_at + Duration::from_secs(u64::try_from(seconds_left).unwrap_or(0)),
        };
        self.remember(hash, found.clone(), looked_at);
        Ok(Some(found))
    }

    fn remembered(&self, hash: &[u8; 32]) -> Option<Found> {
        let kept = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let (found, looked_at) = kept.get(hash)?;
        let counts = looked_at.elapsed() < REMEMBERED_FOR && Instant::now() < found.ends_at;
        counts.then(|| found.clone())
    }

    fn remember(&self, hash: [u8; 32], found: Found, looked_at: Instant) {
        let mut kept = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= REMEMBERED_MAX {
            kept.retain(|_, (_, looked_at)| looked_at.elapsed() < REMEMBERED_FOR);
        }
        if kept.len() >= REMEMBERED_MAX {
            kept.clear();
        }
        kept.insert(hash, (found, looked_at));
    }

    /// Forgets a key that was ended here.
    pub fn forget(&self, api_key_id: Uuid) {
        let mut kept = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (found, _)| found.api_key_id != api_key_id);
    }
}

impl TokenVerifier {
    /// The person a request names, by access token or API key.
    ///
    /// # Errors
    /// 401 when there is none; 403 `api-key-scope` when the key is not for this; 404 when it is for another family; 503 when it
    /// cannot be looked up.
    pub(super) async fn signed_in_by(&self, parts: &Parts) -> Result<SignedIn, Problem> {
        let key = super::bearer(&parts.headers).filter(|token| token.starts_with(API_KEY_PREFIX));
        let (Some(key), Some(pool)) = (key, self.source()) else {
            return self.signed_in(&parts.headers).await;
        };
        let found = self.api_keys().find(pool, key).await?;
        let found = found.ok_or_else(|| Problem::not_signed_in("the API key is unknown, over or was ended"))?;
        // Routers that stand within others see a shortened address.
        let path = match parts.extensions.get::<OriginalUri>() {
            Some(original) => original.path(),
            None => parts.uri.path(),
        };
        let needed = Scope::needed(&parts.method, path);
        let scope = needed
            .iter()
            .find(|scope| found.scopes.iter().any(|name| name == scope.as_str()))
            .ok_or_else(|| not_for_this(needed))?;
        if let Some(bound_to) = found.family_id {
            let asked_for = path.split('/').nth(4).filter(|text| !text.is_empty());
            let asked_for = asked_for.ok_or_else(|| not_for_this(&[]))?;
            if asked_for.parse::<FamilyId>().ok() != Some(bound_to) {
                return Err(Problem::unknown_family());
            }
        }
        Ok(SignedIn {
            user_id: found.user_id,
            session_id: found.api_key_id,
            proven_at: if *scope == Scope::Export { self.now() } else { 0 },
            is_paired: false,
        })
    }

    /// Refuses this key from now on, in this process.
    pub fn forget_api_key(&self, api_key_id: Uuid) {
        self.api_keys().forget(api_key_id);
    }
}

fn not_for_this(needed: &[Scope]) -> Problem {
    let names: Vec<&str> = needed.iter().map(|scope| scope.as_str()).collect();
    let detail = match names.as_slice() {
        [] => "no API key is taken for this; sign in".to_owned(),
        names => format!("the API key has not the scope for this: {}", names.join(" or ")),
    };
    Problem::new(StatusCode::FORBIDDEN, "api-key-scope", detail).with("scopes", serde_json::json!(names))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_takes_no_key() {
        let needed = |method: &str, path: &str| Scope::needed(&method.parse().unwrap(), path);
        let family = "/api/v1/families/fam_1";
        assert_eq!(needed("GET", &format!("{family}/entries")), [Scope::Read]);
        assert_eq!(needed("GET", &format!("{family}/as-of/entries")), [Scope::Read]);
        assert_eq!(needed("GET", &format!("{family}/commands/1")), [Scope::Read]);
        assert_eq!(needed("GET", "/api/v1/families"), [Scope::Read]);
        assert_eq!(needed("POST", "/api/v1/families"), [Scope::Commands]);
        assert_eq!(needed("POST", &format!("{family}/commands")), [Scope::Commands]);
        assert_eq!(
            needed("POST", &format!("{family}/commands/add-expense")),
            [Scope::Commands]
        );
        assert_eq!(
            needed("POST", &format!("{family}/commands/sync-bank")),
            [Scope::Commands, Scope::Import]
        );
        assert_eq!(needed("POST", &format!("{family}/imports")), [Scope::Import]);
        assert_eq!(needed("GET", &format!("{family}/audit/export")), [Scope::Export]);
        assert_eq!(needed("GET", &format!("{family}/audit/pack")), [Scope::Export]);
        assert_eq!(needed("GET", &format!("{family}/audit/verify")), [Scope::Read]);
        for (method, path) in [
            ("POST", "/api/v1/auth/login".to_owned()),
            ("GET", "/api/v1/auth/profile".to_owned()),
            ("GET", "/api/v1/auth/api-keys".to_owned()),
            ("POST", format!("{family}/members/mem_1/invitation")),
            ("DELETE", family.to_owned()),
            ("PUT", format!("{family}/commands/x")),
            ("POST", format!("{family}/commands/x/y")),
            ("GET", "/metrics".to_owned()),
        ] {
            assert!(needed(method, &path).is_empty(), "{method} {path}");
        }
    }

    #[test]
    fn the_keys_remembered_are_bounded() {
        let keys = ApiKeys::new();
        for number in 0..(2 * REMEMBERED_MAX as u64) {
            let found = Found {
                api_key_id: Uuid::nil(),
                user_id: UserId::from_uuid(Uuid::nil()),
                family_id: None,
                scopes: Vec::new(),
                ends_at: Instant::now() + Duration::from_secs(60),
            };
            keys.remember(Sha256::digest(number.to_be_bytes()).into(), found, Instant::now());
        }
        assert!(keys.found.lock().unwrap().len() <= REMEMBERED_MAX);
    }
}
