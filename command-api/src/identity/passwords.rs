//! Passwords: argon2id with a pepper, hashed a few at a time. What is accepted as a new one, `password_policy` says.
//!
//! A hash takes a core and some tens of mebibytes for a tenth of a second or more. No more run at once than there are
//! cores, few wait ([`super::queue`]), and the rest are turned away with 429 before they cost anything.

use std::{fmt, sync::Arc};

use argon2::{
    Algorithm, Argon2, Params, ParamsBuilder, Version,
    password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString},
};
use service_kit::problem::Problem;
use tokio::sync::Semaphore;

use super::{
    IdentityConfig, IdentityError, Secret,
    password_policy::Policy,
    queue::{Queue, Visitor},
};

pub(super) use super::password_policy::CHARACTERS_MAX;

/// Names the pepper in a stored hash, so that a later one can be told from it.
const PEPPER_ID: &[u8] = b"1";

/// Hashes and verifies.
#[derive(Clone)]
pub(super) struct Passwords {
    recipe: Arc<Recipe>,
    policy: Policy,
    cores: Arc<Semaphore>,
    queue: Queue,
    /// Verified against when nobody has the e-mail address, so that the answer takes as long.
    nobody: Arc<str>,
}

struct Recipe {
    params: Params,
    pepper: [u8; 32],
}

impl Recipe {
    fn hasher(&self) -> Result<Argon2<'_>, HashError> {
        Argon2::new_with_secret(&self.pepper, Algorithm::Argon2id, Version::V0x13, self.params.clone())
            .map_err(|error| HashError::Argon2(error.into()))
    }

    fn hash(&self, password: &str) -> Result<String, HashError> {
        let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).map_err(HashError::Argon2)?;
        let phc = self
            .hasher()?
            .hash_password(password.as_bytes(), &salt)
            .map_err(HashError::Argon2)?;
        Ok(phc.to_string())
    }
}

/// What became of a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    /// Right, but hashed with parameters or a pepper that are no longer ours.
    RightButOutdated,
    Wrong,
}

/// Hashing failed in itself.
#[derive(Debug, thiserror::Error)]
pub(super) enum HashError {
    #[error("argon2 failed: {0}")]
    Argon2(argon2::password_hash::Error),
    #[error("the hashing task ended")]
    Task(#[source] tokio::task::JoinError),
}

impl Passwords {
    pub fn try_new(config: &IdentityConfig, secret: &Secret) -> Result<Self, IdentityError> {
        let (memory_kib, iterations) = (config.argon2_memory_kib, config.argon2_iterations);
        // OWASP's floors; below them a stolen table is cheap to guess through.
        let is_strong = (memory_kib >= 19_456 && iterations >= 2) || memory_kib >= 47_104;
        if !is_strong {
            return Err(IdentityError::Argon2(
                "needs at least 19456 KiB with 2 iterations, or 47104 KiB with 1".into(),
            ));
        }
        let wrong = |error: argon2::Error| IdentityError::Argon2(error.to_string());
        let mut params = ParamsBuilder::new();
        params
            .m_cost(memory_kib)
            .t_cost(iterations)
            .p_cost(config.argon2_parallelism);
        params.keyid(argon2::KeyId::new(PEPPER_ID).map_err(wrong)?);
        let params: Params = params.build().map_err(wrong)?;
        let recipe = Recipe {
            params,
            pepper: secret.derive("password-pepper/1"),
        };
        let nobody = recipe
            .hash(&hex::encode(rand::random::<[u8; 16]>()))
            .map_err(|error| IdentityError::Argon2(error.to_string()))?;
        let at_once = config
            .password_hashes_at_once
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
        Ok(Self {
            recipe: Arc::new(recipe),
            policy: Policy::try_new(config)?,
            cores: Arc::new(Semaphore::new(at_once.max(1))),
            queue: Queue::new(at_once.max(1), config.password_queue_max),
            nobody: nobody.into(),
        })
    }

    /// The PHC string to store for a password that somebody chose just now.
    ///
    /// # Errors
    /// 422 `weak-password` when it may not be chosen; 429 when too many wait already.
    pub async fn hash_new(
        &self,
        password: String,
        email: &str,
        display_name: &str,
        visitor: Visitor,
    ) -> Result<String, Problem> {
        self.policy.check(&password, email, display_name).await?;
        self.hash(password, visitor).await
    }

    /// The PHC string to store for a password that is in force already.
    ///
    /// # Errors
    /// 429 when too many wait already.
    pub async fn hash(&self, password: String, visitor: Visitor) -> Result<String, Problem> {
        let recipe = Arc::clone(&self.recipe);
        self.run(visitor, move || recipe.hash(&password)).await
    }

    /// Compares a guess with the stored PHC string, or with nobody's: as long a wait, and always wrong.
    ///
    /// # Errors
    /// 429 when too many wait already.
    pub async fn verify(&self, guess: String, stored: Option<String>, visitor: Visitor) -> Result<Verdict, Problem> {
        let recipe = Arc::clone(&self.recipe);
        let nobody = Arc::clone(&self.nobody);
        self.run(visitor, move || {
            let phc = PasswordHash::new(stored.as_deref().unwrap_or(&nobody)).map_err(HashError::Argon2)?;
            let matches = match recipe.hasher()?.verify_password(guess.as_bytes(), &phc) {
                Ok(()) => stored.is_some(),
                Err(argon2::password_hash::Error::Password) => false,
                Err(error) => return Err(HashError::Argon2(error)),
            };
            if !matches {
                return Ok(Verdict::Wrong);
            }
            let params = Params::try_from(&phc).map_err(HashError::Argon2)?;
            Ok(if is_outdated(&params, &recipe.params) {
                Verdict::RightButOutdated
            } else {
                Verdict::Right
            })
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        visitor: Visitor,
        work: impl FnOnce() -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, Problem> {
        let busy = || Problem::too_fast(2, "too many people are signing in at this moment; try again");
        let place = self.queue.enter(visitor)?;
        let core = Arc::clone(&self.cores).acquire_owned().await.map_err(|_| busy())?;
        // Core and place go with the work: a client that hangs up does not make room for another hash.
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop((core, place));
            result
        });
        match done.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Problem::ours(&error)),
            Err(error) => Err(Problem::ours(&HashError::Task(error))),
        }
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passwords(…)")
    }
}

fn is_outdated(stored: &Params, ours: &Params) -> bool {
    stored.m_cost() < ours.m_cost() || stored.t_cost() < ours.t_cost() || stored.keyid() != ours.keyid()
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    const HERE: Visitor = Visitor::NOWHERE;

    #[test]
    fn weak_parameters_are_refused_at_start() {
        let config = IdentityConfig {
            argon2_memory_kib: 8_192,
            ..IdentityConfig::default()
        };
        assert!(Passwords::try_new(&config, &Secret::new([1; 32])).is_err());
    }

    #[tokio::test]
    async fn a_hash_verifies_only_with_its_pepper_and_is_renewed_when_parameters_rise() {
        let config = IdentityConfig {
            argon2_memory_kib: 19_456,
            argon2_iterations: 2,
            ..IdentityConfig::default()
        };
        let raised = IdentityConfig {
            argon2_iterations: 3,
            ..config.clone()
        };
        let passwords = Passwords::try_new(&config, &Secret::new([1; 32])).unwrap();
        let stored = passwords.hash("correct horse".to_owned(), HERE).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1,keyid="), "{stored}");

        let right = passwords
            .verify("correct horse".to_owned(), Some(stored.clone()), HERE)
            .await
            .unwrap();
        assert_eq!(right, Verdict::Right);
        let wrong = passwords
            .verify("Correct horse".to_owned(), Some(stored.clone()), HERE)
            .await
            .unwrap();
        assert_eq!(wrong, Verdict::Wrong);
        let other_pepper = Passwords::try_new(&config, &Secret::new([2; 32])).unwrap();
        let elsewhere = other_pepper
            .verify("correct horse".to_owned(), Some(stored.clone()), HERE)
            .await
            .unwrap();
        assert_eq!(elsewhere, Verdict::Wrong);
        let stronger = Passwords::try_new(&raised, &Secret::new([1; 32])).unwrap();
        let outdated = stronger
            .verify("correct horse".to_owned(), Some(stored), HERE)
            .await
            .unwrap();
        assert_eq!(outdated, Verdict::RightButOutdated);
    }

    #[tokio::test]
    async fn a_full_queue_turns_away() {
        let config = IdentityConfig {
            argon2_memory_kib: 19_456,
            argon2_iterations: 2,
            password_hashes_at_once: Some(1),
            password_queue_max: 1,
            ..IdentityConfig::default()
        };
        let passwords = Passwords::try_new(&config, &Secret::new([1; 32])).unwrap();
        let all = futures::future::join_all((0..8).map(|_| passwords.hash("correct horse".to_owned(), HERE))).await;
        assert!(all.iter().any(Result::is_ok));
        let refused = all.iter().filter_map(|one| one.as_ref().err()).collect::<Vec<_>>();
        assert!(!refused.is_empty());
        assert!(
            refused
                .iter()
                .all(|problem| problem.status() == StatusCode::TOO_MANY_REQUESTS)
        );
    }
}
