//! Query parameters: read as text and judged here, so that whatever is sent is answered with a reason and never with a 5xx.

use axum::extract::{Query, rejection::QueryRejection};
use domain::parsing::without_values;
use event_store::replay::{AsOf, bounds};
use serde::{Deserialize, de::DeserializeOwned};
use service_kit::problem::Problem;

/// The bounds of a replay, as they come.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bounds {
    recorded_at: Option<String>,
    family_seq: Option<String>,
    effective_on: Option<String>,
}

impl Bounds {
    pub(super) fn new(recorded_at: Option<String>, family_seq: Option<String>, effective_on: Option<String>) -> Self {
        Self {
            recorded_at,
            family_seq,
            effective_on,
        }
    }

    pub(super) fn parse(&self) -> Result<AsOf, Problem> {
        AsOf::parse(
            self.recorded_at.as_deref(),
            self.family_seq.as_deref(),
            self.effective_on.as_deref(),
        )
        .map_err(|error| Problem::malformed(error.to_string()))
    }
}

/// Parameters of a request, or the problem with them.
pub(super) fn parameters<T: DeserializeOwned>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    query
        .map(|Query(parameters)| parameters)
        .map_err(|rejection| Problem::malformed(without_values(&rejection.body_text())))
}

/// A whole number from 0 up.
pub(super) fn number(name: &'static str, text: &str) -> Result<i64, Problem> {
    bounds::number(name, text).map_err(|error| Problem::malformed(error.to_string()))
}
