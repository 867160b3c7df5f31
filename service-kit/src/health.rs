//! `/healthz`, `/readyz` and `/metrics`: alive, ready to serve, and how it goes.

use std::{
    sync::{Arc, RwLock},
    time::Duration,
};

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Map, Value, json};

use crate::shutdown::{self, Shutdown};

/// How often the samples of histograms are folded.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Something that must be well for the process to be ready: says what is wrong, or nothing.
pub type Check = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The checks of a process.
#[derive(Clone, Default)]
pub struct Health {
    checks: Arc<RwLock<Vec<(String, Check)>>>,
    metrics: Option<PrometheusHandle>,
}

impl Health {
    /// No checks yet; `metrics` renders `/metrics`.
    pub fn new(metrics: Option<PrometheusHandle>) -> Self {
        Self {
            checks: Arc::default(),
            metrics,
        }
    }

    /// Adds a check under a name. It must answer at once, from what it already knows.
    pub fn add(&self, name: impl Into<String>, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        if let Ok(mut checks) = self.checks.write() {
            checks.push((name.into(), Arc::new(check)));
        }
    }

    /// Runs all checks: is everything well, and what each says.
    pub fn run(&self) -> (bool, Value) {
        let checks = self.checks.read().map(|checks| checks.clone()).unwrap_or_default();
        let mut said = Map::new();
        let mut is_ready = true;
        for (name, check) in checks {
            let answer = check();
            is_ready &= answer.is_ok();
            said.insert(name, json!(answer.err().unwrap_or_else(|| "ok".to_owned())));
        }
        (is_ready, Value::Object(said))
    }

    /// Folds the samples of histograms every few seconds until shutdown; without it they would pile up where nobody scrapes.
    pub async fn keep_metrics(self, shutdown: Shutdown) {
        let Some(handle) = self.metrics else { return };
        let stop = shutdown::requested(shutdown);
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return,
                () = tokio::time::sleep(UPKEEP_EVERY) => handle.run_upkeep(),
            }
        }
    }

    /// The three routes. They tell states and counts, nothing of a family; who is told the counts is for the edge to say.
    pub fn router(self) -> Router {
        Router::new()
            .route("/healthz", get(|| async { Json(json!({"status": "ok"})) }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self)
    }
}

async fn ready(State(health): State<Health>) -> impl IntoResponse {
    let (is_ready, checks) = health.run();
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        Json(json!({"status": if is_ready { "ready" } else { "not ready" }, "checks": checks})),
    )
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    match &health.metrics {
        Some(handle) => {
            handle.run_upkeep();
            (StatusCode::OK, handle.render())
        }
        None => (StatusCode::NOT_FOUND, String::new()),
    }
}
