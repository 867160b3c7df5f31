//! The parts, put together the same way whether they run in one process or apart.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use async_trait::async_trait;
use command_api::{
    CommandApi,
    audit::{AuditLimits, AuditState},
    dispatch::Request,
    erasures::{Erasures, register::Register},
    identity::{Identity, IdentityConfig, Secret},
    lanes::LaneSettings,
    person::PersonState,
};
use domain::{
    commands::{AnyCommand, find},
    id::{CommandId, FamilyId},
};
use event_store::{Log, keys::encryption::KeyEncryptions};
use reactors::imports::{Caller, Commands};
use serde_json::Value;
use service_kit::{
    database::{self, DatabaseRole},
    health::Health,
    problem::Problem,
    shutdown::{self, Shutdown},
};
use sqlx::PgPool;
use tokio::task::JoinHandle;

/// Connections of the command side: one per lane while it appends, and some for loads.
pub const WRITER_CONNECTIONS: u32 = 16;
/// Connections of identity.
pub const IDENTITY_CONNECTIONS: u32 = 12;
/// Connections of the views.
pub const READER_CONNECTIONS: u32 = 16;

/// The command side, running.
pub struct CommandSide {
    /// Commands.
    pub api: CommandApi,
    /// Who is who.
    pub identity: Identity,
    workers: Vec<JoinHandle<()>>,
    upkeep: JoinHandle<()>,
    erasures: JoinHandle<()>,
    stop_erasures: tokio::sync::watch::Sender<bool>,
}

impl CommandSide {
    /// Starts lane workers and identity on a database that is up to date.
    ///
    /// # Errors
    /// When the database does not answer, or was set up with another secret or key-encryption key.
    pub async fn start(
        url: &str,
        (secret, encryptions): (&Secret, KeyEncryptions),
        config: &IdentityConfig,
        register: Option<Register>,
        shutdown: Shutdown,
    ) -> Result<Self> {
        let pool = database::connect(url, DatabaseRole::Writer, WRITER_CONNECTIONS).await?;
        let identities = database::connect(url, DatabaseRole::Identity, IDENTITY_CONNECTIONS).await?;
        let log = Log::new(pool, secret.derive("unique-claims/1")).encrypting_with(encryptions);
        log.check_keys().await?;
        let (api, workers) = CommandApi::start(log, LaneSettings::default())
            .await
            .context("cannot read the log")?;
        let erasures = Erasures::new(api.clone(), identities.clone(), register);
        let applied = erasures
            .apply_register()
            .await
            .context("the register of erasures cannot be applied")?;
        if applied > 0 {
            tracing::warn!(applied, "the database is of before these erasures: they hold again");
        }
        let identity = Identity::open(identities, secret, config, Arc::new(api.clone()))
            .await
            .context("cannot open identities")?;
        let upkeep = tokio::spawn(identity.clone().run_upkeep(shutdown));
        // It goes on while the last commands are answered.
        let (stop_erasures, erasures_shutdown) = shutdown::channel();
        let erasures = tokio::spawn(erasures.run(erasures_shutdown));
        Ok(Self {
            api,
            identity,
            workers,
            upkeep,
            erasures,
            stop_erasures,
        })
    }

    /// Its routes: commands, identity, audit.
    pub fn router(&self) -> axum::Router {
        let verifier = self.identity.verifier();
        let audit = AuditState::new(
            self.api.log().clone(),
            self.identity.trail(),
            self.identity.sign_ins(),
            Arc::new(self.api.clone()),
            Arc::clone(verifier),
            AuditLimits::default(),
        );
        let person = PersonState::new(self.identity.clone(), self.api.log().clone());
        command_api::dispatch::router(self.api.clone(), Arc::clone(verifier))
            .merge(command_api::identity::router(self.identity.clone()))
            .merge(command_api::audit::router(audit))
            .merge(command_api::person::router(person))
    }

    /// Finishes what is queued; nothing further is taken.
    pub async fn drain(self) {
        self.api.stop();
        for worker in self.workers {
            drop(worker.await);
        }
        drop(self.upkeep.await);
        self.stop_erasures.send_replace(true);
        drop(self.erasures.await);
    }
}

/// The command side of this process, for importers.
pub struct LocalCommands(pub CommandApi);

#[async_trait]
impl Commands for LocalCommands {
    async fn execute(
        &self,
        caller: &Caller,
        family_id: FamilyId,
        command_id: CommandId,
        name: &str,
        body: Value,
    ) -> Result<Value, Problem> {
        let kind = find(name).ok_or_else(|| Problem::unknown("unknown-command", "there is no such command"))?;
        let body = body.to_string();
        let parsed = (kind.parse)(&body).map_err(|error| Problem::malformed(error.to_string()))?;
        let command: Arc<dyn AnyCommand> = Arc::from(parsed);
        let mut headers = axum::http::HeaderMap::new();
        if let Some(given) = caller.traceparent.as_deref().and_then(|text| text.parse().ok()) {
            headers.insert("traceparent", given);
        }
        let traceparent = command_api::dispatch::traceparent(&headers);
        let request = Request {
            family_id,
            command_id,
            signed_in: caller.signed_in,
            command,
            if_match: None,
            traceparent,
            bytes: body.len(),
        };
        let receipt = self.0.execute(request).await?;
        serde_json::to_value(receipt).map_err(|error| Problem::ours(&error))
    }
}

/// A command side in another process.
pub struct RemoteCommands {
    /// Where it listens, such as `http://command-api:8080`.
    pub base_url: String,
}

#[async_trait]
impl Commands for RemoteCommands {
    async fn execute(
        &self,
        caller: &Caller,
        family_id: FamilyId,
        command_id: CommandId,
        name: &str,
        body: Value,
    ) -> Result<Value, Problem> {
        let url = format!(
            "{}/api/v1/families/{family_id}/commands/{name}",
            self.base_url.trim_end_matches('/')
        );
        let mut request = ureq::post(&url)
            .header("authorization", &caller.authorization)
            .header("idempotency-key", command_id.uuid().to_string())
            .header("content-type", "application/json");
        if let Some(traceparent) = &caller.traceparent {
            request = request.header("traceparent", traceparent);
        }
        let request = request
            .config()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        let sent = tokio::task::spawn_blocking(move || {
            let mut answer = request.send(body.to_string())?;
            let value = answer
                .body_mut()
                .with_config()
                .limit(64 * 1024 * 1024)
                .read_json::<Value>()?;
            Ok::<_, ureq::Error>((answer.status(), value))
        });
        let unavailable = || {
            Problem::unavailable(
                1,
                "the command side cannot be reached: send it again with the same Idempotency-Key",
            )
        };
        let (status, value) = sent
            .await
            .map_err(|error| Problem::ours(&error))?
            .map_err(|_| unavailable())?;
        if status.is_success() {
            Ok(value)
        } else {
            Err(Problem::from_body(status, &value))
        }
    }
}

/// Adds a check that the database answers, kept up to date in the background.
pub fn watch_database(health: &Health, pool: PgPool, shutdown: Shutdown) {
    let is_well = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&is_well);
    health.add("database", move || {
        if seen.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err("the database does not answer".to_owned())
        }
    });
    tokio::spawn(async move {
        let stop = shutdown::requested(shutdown);
        tokio::pin!(stop);
        loop {
            let asked = tokio::time::timeout(Duration::from_secs(3), sqlx::query("select 1").execute(&pool)).await;
            is_well.store(matches!(asked, Ok(Ok(_))), Ordering::Relaxed);
            tokio::select! {
                () = &mut stop => return,
                () = tokio::time::sleep(Duration::from_secs(2)) => {}
            }
        }
    });
}
