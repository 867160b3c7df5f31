//! Passwords: argon2id with a pepper, hashed a few at a time.
//!
//! Accepted is any text of 8 to 256 characters that is more than a common password, the person's own name or their e-mail
//! address. There are no rules about kinds of characters (NIST SP 800-63B-4; OWASP ASVS 5.0 6.2.1, 6.2.4, 6.2.5, 6.1.2).
//!
//! A hash takes a core and some tens of mebibytes for a tenth of a second or more. No more run at once than there are
//! cores, few wait, and the rest are turned away with 429 before they cost anything.

use std::{fmt, sync::Arc};

use argon2::{
    Algorithm, Argon2, Params, ParamsBuilder, Version,
    password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString},
};
use axum::http::StatusCode;
use service_kit::problem::Problem;
use tokio::sync::Semaphore;

use super::{IdentityConfig, IdentityError, Secret};

/// Fewest characters of a password.
pub(super) const CHARACTERS_MIN: usize = 8;
/// Most characters of a password.
pub(super) const CHARACTERS_MAX: usize = 256;
/// Names the pepper in a stored hash, so that a later one can be told from it.
const PEPPER_ID: &[u8] = b"1";

/// The passwords everybody tries first. Lower case; digits and signs at their ends are ignored when comparing.
static COMMON: &str = include_str!("common_passwords.txt");

/// Hashes and verifies.
#[derive(Clone)]
pub(super) struct Passwords {
    recipe: Arc<Recipe>,
    cores: Arc<Semaphore>,
    queue: Arc<Semaphore>,
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
            cores: Arc::new(Semaphore::new(at_once.max(1))),
            queue: Arc::new(Semaphore::new(at_once.max(1) + config.password_queue_max)),
            nobody: nobody.into(),
        })
    }

    /// The PHC string to store for a new password.
    ///
    /// # Errors
    /// 429 when too many wait already.
    pub async fn hash(&self, password: String) -> Result<String, Problem> {
        let recipe = Arc::clone(&self.recipe);
        self.run(move || recipe.hash(&password)).await
    }

    /// Compares a guess with the stored PHC string, or with nobody's: as long a wait, and always wrong.
    ///
    /// # Errors
    /// 429 when too many wait already.
    pub async fn verify(&self, guess: String, stored: Option<String>) -> Result<Verdict, Problem> {
        let recipe = Arc::clone(&self.recipe);
        let nobody = Arc::clone(&self.nobody);
        self.run(move || {
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
        work: impl FnOnce() -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, Problem> {
        let busy = || Problem::too_fast(2, "too many people are signing in at this moment; try again");
        let place = Arc::clone(&self.queue).try_acquire_owned().map_err(|_| busy())?;
        let core = Arc::clone(&self.cores).acquire_owned().await.map_err(|_| busy())?;
        // Both permits go with the work: a client that hangs up does not make room for another hash.
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

/// Whether a new password may be taken.
///
/// # Errors
/// 422 `weak-password`, with the reason in words.
pub(super) fn check_new(password: &str, email: &str, display_name: &str) -> Result<(), Problem> {
    let refuse = |reason: String| Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "weak-password", reason));
    let characters = password.chars().count();
    if characters < CHARACTERS_MIN {
        return refuse(format!("a password needs at least {CHARACTERS_MIN} characters"));
    }
    if characters > CHARACTERS_MAX {
        return refuse(format!("a password has at most {CHARACTERS_MAX} characters"));
    }
    if is_common(password) {
        return refuse("this password is among the first that anybody tries".to_owned());
    }
    if without_own_words(password, email, display_name).chars().count() < CHARACTERS_MIN / 2 {
        return refuse("a password must be more than your own name or e-mail address".to_owned());
    }
    Ok(())
}

fn is_common(password: &str) -> bool {
    let lower = password.to_lowercase();
    let mut distinct: Vec<char> = lower.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    let core = lower.trim_matches(|c: char| !c.is_alphabetic());
    distinct.len() < 4
        || is_a_run(&lower)
        || COMMON
            .lines()
            .any(|common| common == lower || (!core.is_empty() && common == core))
}

/// `abcdefgh`, `87654321`: each character the neighbour of the one before.
fn is_a_run(lower: &str) -> bool {
    let codes: Vec<i64> = lower.chars().map(|c| i64::from(u32::from(c))).collect();
    [1, -1]
        .iter()
        .any(|step| codes.windows(2).all(|pair| pair[1] - pair[0] == *step))
}

fn without_own_words(password: &str, email: &str, display_name: &str) -> String {
    let email = email.to_lowercase();
    let local_part = email.split('@').next().unwrap_or_default().to_owned();
    let name = display_name.to_lowercase();
    let mut words = vec![email, local_part, name.clone()];
    words.extend(name.split_whitespace().map(str::to_owned));
    words.push("kinledger".to_owned());
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    words
        .iter()
        .filter(|word| word.chars().count() >= 3)
        .fold(password.to_lowercase(), |left, word| left.replace(word.as_str(), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_taken(password: &str) -> bool {
        check_new(password, "ada@example.org", "Ada Lovelace").is_ok()
    }

    #[test]
    fn length_is_the_rule_and_kinds_of_characters_are_none() {
        assert!(!is_taken("tulip-7"));
        assert!(is_taken("tulip-78"));
        assert!(is_taken("correct horse battery staple"));
        assert!(is_taken(&"ab cd ".repeat(42)));
        assert!(!is_taken(&"ab cd ".repeat(43)));
    }

    #[test]
    fn common_passwords_are_refused_with_their_decorations() {
        for common in [
            "password",
            "Password123!",
            "12345678",
            "qwertyuiop",
            "aaaaaaaa",
            "87654321",
            "abcdefgh",
            "iloveyou2026",
        ] {
            assert!(!is_taken(common), "{common}");
        }
    }

    #[test]
    fn a_password_is_more_than_ones_own_name() {
        assert!(!is_taken("ada@example.org"));
        assert!(!is_taken("LovelaceAda1"));
        assert!(is_taken("ada-keeps-bees"));
    }

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
        let stored = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1,keyid="), "{stored}");

        let right = passwords
            .verify("correct horse".to_owned(), Some(stored.clone()))
            .await
            .unwrap();
        assert_eq!(right, Verdict::Right);
        let wrong = passwords
            .verify("Correct horse".to_owned(), Some(stored.clone()))
            .await
            .unwrap();
        assert_eq!(wrong, Verdict::Wrong);
        let other_pepper = Passwords::try_new(&config, &Secret::new([2; 32])).unwrap();
        let elsewhere = other_pepper
            .verify("correct horse".to_owned(), Some(stored.clone()))
            .await
            .unwrap();
        assert_eq!(elsewhere, Verdict::Wrong);
        let stronger = Passwords::try_new(&raised, &Secret::new([1; 32])).unwrap();
        let outdated = stronger.verify("correct horse".to_owned(), Some(stored)).await.unwrap();
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
        let all = futures::future::join_all((0..8).map(|_| passwords.hash("correct horse".to_owned()))).await;
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
