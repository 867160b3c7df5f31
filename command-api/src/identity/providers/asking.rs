//! Asking a provider something without holding anybody else up: its calls block, so they have threads of their own, a few for each.

use std::sync::Arc;

use axum::http::StatusCode;
use connectors::sign_in::{Failure, Provider};
use service_kit::problem::Problem;

use super::SignInProvider;

impl SignInProvider {
    /// # Errors
    /// 401 when the provider does not confirm the sign-in, 502 when it fails, 503 when too many ask it at this moment.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Provider) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Problem> {
        let Ok(seat) = Arc::clone(&self.seats).try_acquire_owned() else {
            return Err(Problem::unavailable(
                1,
                "this provider is being asked by many just now; try again",
            ));
        };
        let provider = Arc::clone(&self.provider);
        let asked = tokio::task::spawn_blocking(move || {
            let answer = question(provider.as_ref());
            drop(seat);
            answer
        });
        match asked.await {
            Ok(answer) => answer.map_err(|failure| self.problem(&failure)),
            Err(error) => Err(Problem::ours(&error)),
        }
    }

    /// A failure's words are for the operator; a stranger learns only who is to act.
    fn problem(&self, failure: &Failure) -> Problem {
        let provider = self.name.as_str();
        match failure {
            Failure::Refused(_) => {
                tracing::info!(provider, error = %failure, "a sign-in was not confirmed");
                return Problem::new(
                    StatusCode::UNAUTHORIZED,
                    "sign-in-refused",
                    "the provider does not confirm this sign-in; begin again",
                );
            }
            Failure::Unreachable(_) => tracing::warn!(provider, error = %failure, "a sign-in provider fails"),
            Failure::Unsound(_) => tracing::warn!(provider, error = %failure, "an answer was not believed"),
            Failure::Operator(_) => tracing::error!(provider, error = %failure, "a sign-in provider refuses us"),
        }
        Problem::new(
            StatusCode::BAD_GATEWAY,
            "provider-failed",
            "the provider does not answer as it should; try again, or sign in another way",
        )
    }
}
