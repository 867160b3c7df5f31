//! Which passwords may be chosen.
//!
//! Accepted is any text of 8 to 256 characters that nobody tries early: not a common password, not one known from a breach, not
//! little more than the person's own name or address. There are no rules about kinds of characters (NIST SP 800-63B-4; OWASP ASVS
//! 5.0 6.2.1, 6.2.4, 6.2.5, 6.2.12, 6.1.2). ADR 0032 says why 8 and not 15, and an installation can ask for more.
//!
//! The common ones are those of 8 and more characters among the 20,000 that Django 5.2 refuses (`common-passwords.txt`, BSD-3-Clause,
//! drawn from Have I Been Pwned's counts by Royce Williams), and some of our own, with words that people decorate.

use std::sync::{Arc, LazyLock};

use axum::http::StatusCode;
use service_kit::problem::Problem;

use super::{IdentityConfig, IdentityError, breached::Breached};

/// Fewest characters of a password, unless the installation asks for more.
pub(super) const CHARACTERS_MIN: usize = 8;
/// Most characters of a password.
pub(super) const CHARACTERS_MAX: usize = 256;
/// An installation may ask for so many at most: more would lock people out of password managers' defaults.
const CHARACTERS_MIN_MAX: usize = 64;

/// The passwords everybody tries first, in lower case and sorted; read when somebody first chooses one. Digits and signs at the ends
/// of what was chosen are ignored when comparing, so that shorter words are of use here too.
static COMMON: LazyLock<Vec<&'static str>> = LazyLock::new(|| include_str!("common_passwords.txt").lines().collect());

/// What an installation asks of a new password.
#[derive(Clone)]
pub(super) struct Policy {
    characters_min: usize,
    breached: Option<Arc<Breached>>,
}

impl Policy {
    pub fn try_new(config: &IdentityConfig) -> Result<Self, IdentityError> {
        let characters_min = config.password_characters_min.unwrap_or(CHARACTERS_MIN);
        if !(CHARACTERS_MIN..=CHARACTERS_MIN_MAX).contains(&characters_min) {
            let reason = format!("the shortest password must have {CHARACTERS_MIN} to {CHARACTERS_MIN_MAX} characters");
            return Err(IdentityError::Settings(reason));
        }
        let breached = match &config.breached_passwords {
            Some(path) => Some(Arc::new(Breached::open(path)?)),
            None => None,
        };
        Ok(Self {
            characters_min,
            breached,
        })
    }

    /// Whether a new password may be taken.
    ///
    /// # Errors
    /// 422 `weak-password`, with the reason in words; 500 when the file of breached passwords cannot be read any more.
    pub async fn check(&self, password: &str, email: &str, display_name: &str) -> Result<(), Problem> {
        check_form(password, email, display_name, self.characters_min)?;
        let Some(breached) = self.breached.clone() else {
            return Ok(());
        };
        let hash = Breached::hash(password);
        let looked_up = tokio::task::spawn_blocking(move || breached.contains(&hash)).await;
        match looked_up {
            Ok(Ok(false)) => Ok(()),
            Ok(Ok(true)) => refuse("this password is known from a breach elsewhere: whoever guesses, tries it"),
            Ok(Err(error)) => Err(Problem::ours(&error)),
            Err(error) => Err(Problem::ours(&error)),
        }
    }
}

fn refuse(reason: impl Into<String>) -> Result<(), Problem> {
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "weak-password", reason))
}

fn check_form(password: &str, email: &str, display_name: &str, characters_min: usize) -> Result<(), Problem> {
    let characters = password.chars().count();
    if characters < characters_min {
        return refuse(format!("a password needs at least {characters_min} characters"));
    }
    if characters > CHARACTERS_MAX {
        return refuse(format!("a password has at most {CHARACTERS_MAX} characters"));
    }
    if is_common(password) {
        return refuse("this password is among the first that anybody tries");
    }
    if without_own_words(password, email, display_name).chars().count() < CHARACTERS_MIN / 2 {
        return refuse("a password must be more than your own name or e-mail address");
    }
    Ok(())
}

fn is_common(password: &str) -> bool {
    let lower = password.to_lowercase();
    let mut distinct: Vec<char> = lower.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    let core = lower.trim_matches(|c: char| !c.is_alphabetic());
    distinct.len() < 4 || is_a_run(&lower) || is_listed(&lower) || is_listed(core)
}

fn is_listed(text: &str) -> bool {
    COMMON.binary_search(&text).is_ok()
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
        check_form(password, "ada@example.org", "Ada Lovelace", CHARACTERS_MIN).is_ok()
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
    fn at_least_three_thousand_common_passwords_of_allowed_length_are_listed_as_they_are_searched_for() {
        let of_allowed_length = |common: &&&str| common.chars().count() >= CHARACTERS_MIN;
        let listed = COMMON.iter().filter(of_allowed_length).count();
        assert!(listed >= 3_000, "{listed}");
        assert!(COMMON.is_sorted_by(|one, next| one < next), "sorted, each once");
        for common in COMMON.iter() {
            assert_eq!(*common, common.trim().to_lowercase(), "{common}");
            assert!(common.chars().count() <= CHARACTERS_MAX);
            assert!(is_common(common) && is_common(&common.to_uppercase()), "{common}");
            if common.chars().count() >= CHARACTERS_MIN {
                assert!(!is_taken(common), "{common}");
            }
        }
        // One from the top of the list, one from its middle and one from its end.
        for common in ["Password1", "marseille", "zxcvzxcv"] {
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
    fn an_installation_may_ask_for_more_characters_and_for_no_fewer() {
        let asks = |characters_min| {
            Policy::try_new(&IdentityConfig {
                password_characters_min: Some(characters_min),
                ..IdentityConfig::default()
            })
        };
        assert_eq!(asks(15).ok().unwrap().characters_min, 15);
        assert!(asks(7).is_err());
        assert!(asks(65).is_err());
        assert!(check_form("tulip-78-and-more", "ada@example.org", "Ada", 15).is_ok());
        assert!(check_form("tulip-78", "ada@example.org", "Ada", 15).is_err());
    }
}
