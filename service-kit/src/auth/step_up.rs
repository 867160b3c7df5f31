//! Step-up: what is dangerous asks for a proof of who asks that is fresh, not only for a session that goes on.
//!
//! A stolen unlocked phone holds a session for weeks; it does not hold the password. A sign-in counts as a proof, and so does
//! `POST /api/v1/auth/step-up`; exchanging a refresh token does not.

use axum::http::StatusCode;

use super::SignedIn;
use crate::problem::Problem;

/// A proof counts as fresh for so long, in seconds. Source: Kanidm's privilege expiry.
pub const STEP_UP_SECONDS_MAX: i64 = 600;

impl SignedIn {
    /// Lets nobody on whose last proof is too old. `now` is the token verifier's.
    ///
    /// # Errors
    /// 403 `step-up-required`, with the age that would have done in `max_age_s`.
    pub fn require_step_up(&self, now: i64) -> Result<(), Problem> {
        if now - self.proven_at <= STEP_UP_SECONDS_MAX {
            return Ok(());
        }
        // A paired device has neither password nor factor to prove it with, but its PIN or passkey.
        let way = if self.is_paired {
            "unlock this device once more (POST /api/v1/auth/device/unlock)"
        } else {
            "prove who you are once more (POST /api/v1/auth/step-up)"
        };
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "step-up-required",
            format!("{way}, then send this again with the new access token"),
        )
        .with("max_age_s", STEP_UP_SECONDS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use domain::id::UserId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_proof_is_fresh_for_ten_minutes() {
        let signed_in = SignedIn {
            user_id: UserId::from_uuid(Uuid::nil()),
            session_id: Uuid::nil(),
            proven_at: 1_000,
            is_paired: false,
        };
        assert!(signed_in.require_step_up(1_600).is_ok());
        let refused = signed_in.require_step_up(1_601).unwrap_err();
        assert_eq!(refused.code(), "step-up-required");
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        assert_eq!(refused.body()["max_age_s"], STEP_UP_SECONDS_MAX);
    }
}
