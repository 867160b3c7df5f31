//! The whole of Kinledger in one process, without its clockwork: commands go in one by one, are folded at once, and views are
//! read right after.

use std::{net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::{
    Router,
    body::Body,
    http::{Request, Response, StatusCode},
};
use chrono::Utc;
use command_api::{
    CommandApi,
    audit::{AuditLimits, AuditState},
    dispatch,
    identity::{Families, Identity, IdentityConfig, Secret, security_events::Trail, sign_ins::SignIns},
    lanes::LaneSettings,
    person::{self, PersonState},
};
use domain::{
    commands::{AnyCommand, find},
    id::{CommandId, FamilyId, UserId},
};
use event_store::{Lane, Log, Record, keys::encryption::KeyEncryptions};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use projectors::{apply::Applier, generation};
use query_api::QueryState;
use reactors::imports::{Caller, Commands, ImportState};
use replay_api::{ReplayLimits, ReplayState};
use serde_json::{Value, json};
use service_kit::{
    auth::{AUDIENCE, ISSUER, PublicKey, SignedIn, TOKEN_TYPE, TokenVerifier},
    database::{self, DatabaseRole},
    problem::Problem,
    testing::TestDatabase,
};
use sqlx::{PgPool, Postgres, Transaction};
use tokio::net::TcpListener;
use tower::ServiceExt;
use uuid::Uuid;

pub struct Stack {
    pub database: TestDatabase,
    pub api: CommandApi,
    pub applier: Applier,
    pub replayer: PgPool,
    key: EncodingKey,
    routes: Router,
}

/// The command side, for imports.
struct Local(CommandApi);

#[async_trait]
impl Commands for Local {
    async fn execute(
        &self,
        caller: &Caller,
        family_id: FamilyId,
        command_id: CommandId,
        name: &str,
        body: Value,
    ) -> Result<Value, Problem> {
        let parsed = (find(name).unwrap().parse)(&body.to_string());
        let request = dispatch::Request {
            family_id,
            command_id,
            signed_in: caller.signed_in,
            command: Arc::from(parsed.map_err(|error| Problem::malformed(error.to_string()))?),
            if_match: None,
            bytes: 0,
            traceparent: TRACE.to_owned(),
        };
        let receipt = self.0.execute(request).await?;
        Ok(serde_json::to_value(receipt).unwrap())
    }
}

/// The trace of every request.
const TRACE: &str = "00-00000000000000000000000000000001-0000000000000001-01";

/// What this ledger's texts are sealed under, in the end.
pub const KEY: &[u8; 32] = b"Six zebras quickly jump 1032 kg!";

fn log_over(pool: PgPool) -> Log {
    Log::new(pool, [9; 32]).encrypting_with(KeyEncryptions::local(KEY))
}

/// Who is who, for what a person takes along. Nobody here has a password.
async fn identity(pool: PgPool, families: Arc<dyn Families>) -> Identity {
    let config = IdentityConfig {
        argon2_memory_kib: 19_456,
        argon2_iterations: 2,
        ..IdentityConfig::default()
    };
    Identity::open(pool, &Secret::new([7; 32]), &config, families)
        .await
        .unwrap()
}

impl Stack {
    pub async fn start() -> Self {
        let database = TestDatabase::create().await;
        let url = database.url();
        Self::start_on(database, &url, ReplayLimits::default()).await
    }

    /// With replays that reach the database at `replayer_url` and keep to these limits.
    pub async fn start_on(database: TestDatabase, replayer_url: &str, limits: ReplayLimits) -> Self {
        let log = log_over(database.pool(DatabaseRole::Writer).await);
        let (api, _) = CommandApi::start(log.clone(), LaneSettings::default()).await.unwrap();
        let projector = database.pool(DatabaseRole::Projector).await;
        let applier = Applier::new(projector.clone(), log_over(projector));
        let reader = database.pool(DatabaseRole::Reader).await;
        let replayer = database::connect(replayer_url, DatabaseRole::Replayer, 6)
            .await
            .unwrap();
        let pair = Ed25519KeyPair::generate().unwrap();
        let keys = vec![PublicKey {
            kid: "k1".to_owned(),
            public_key: pair.public_key().as_ref().to_vec(),
        }];
        let verifier = Arc::new(TokenVerifier::new(keys.clone()));
        let families: Arc<dyn Families> = Arc::new(api.clone());
        let identities = database.pool(DatabaseRole::Identity).await;
        let identity = identity(identities.clone(), Arc::clone(&families)).await;
        identity.verifier().replace_keys(keys);
        let routes = dispatch::router(api.clone(), Arc::clone(&verifier))
            .merge(query_api::router(QueryState::new(reader, Arc::clone(&verifier))))
            .merge(replay_api::router(ReplayState::new(
                log_over(replayer.clone()),
                Arc::clone(&verifier),
                limits,
            )))
            .merge(reactors::imports::router(ImportState {
                log: log.clone(),
                commands: Arc::new(Local(api.clone())),
                verifier: Arc::clone(&verifier),
            }))
            .merge(person::router(PersonState::new(identity, log.clone())))
            .merge(command_api::audit::router(AuditState::new(
                log,
                Trail::new(identities.clone()),
                SignIns::new(identities),
                families,
                verifier,
                AuditLimits::default(),
            )));
        Self {
            database,
            api,
            applier,
            replayer,
            key: EncodingKey::from_ed_der(pair.to_pkcs8().unwrap().as_ref()),
            routes,
        }
    }

    /// Posts a command; the problem when it is declined.
    pub async fn command(&self, family: FamilyId, by: UserId, name: &str, body: &Value) -> Result<(), Problem> {
        let parsed = (find(name).unwrap().parse)(&body.to_string());
        let command: Arc<dyn AnyCommand> = match parsed {
            Ok(command) => Arc::from(command),
            Err(error) => return Err(Problem::malformed(error.to_string())),
        };
        let request = dispatch::Request {
            family_id: family,
            command_id: CommandId::from_uuid(Uuid::new_v4()),
            signed_in: SignedIn {
                user_id: by,
                session_id: Uuid::nil(),
                proven_at: 0,
                is_paired: false,
            },
            command,
            if_match: None,
            bytes: 0,
            traceparent: TRACE.to_owned(),
        };
        self.api.execute(request).await.map(|_| ())
    }

    /// Folds what is new in a lane, as the projectors do; the records.
    pub async fn project(&self, lane: Lane, checkpoint: &mut i64) -> Vec<Record> {
        let records = self.applier.log.read_lane(lane, *checkpoint, 1_000).await.unwrap();
        let Some(last) = records.last() else { return records };
        let to = last.position;
        let applied = self
            .applier
            .apply(lane, *checkpoint, to, records.clone(), false)
            .await
            .unwrap();
        assert_eq!((applied.events, applied.parked), (records.len(), 0));
        *checkpoint = to;
        records
    }

    /// The rows that answer now. In the projector's role, which sees all tables; HTTP goes by the reader's.
    pub async fn live(&self) -> Transaction<'static, Postgres> {
        let begin = "begin isolation level repeatable read read only";
        let mut tx = self.applier.pool.begin_with(begin).await.unwrap();
        generation::enter(&mut tx).await.unwrap();
        tx
    }

    /// Asks over HTTP.
    pub async fn get(&self, by: UserId, path: &str) -> (StatusCode, Vec<u8>) {
        let answer = self.send(by, path).await;
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), 1 << 26).await.unwrap();
        (status, body.to_vec())
    }

    /// Asks over HTTP for what comes in pieces.
    pub async fn open(&self, by: UserId, path: &str) -> Body {
        let answer = self.send(by, path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.into_body()
    }

    /// Serves the routes on a port of their own, as the process does; where.
    pub async fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = self.routes.clone();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        address
    }

    pub async fn send(&self, by: UserId, path: &str) -> Response<Body> {
        let request = Request::get(path).header("authorization", format!("Bearer {}", self.token(by)));
        self.answer(request.body(Body::empty()).unwrap()).await
    }

    /// The answer to any request.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        self.routes.clone().oneshot(request).await.unwrap()
    }

    pub fn token(&self, user: UserId) -> String {
        let now = Utc::now().timestamp();
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some("k1".to_owned());
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": user.to_string(), "sid": Uuid::nil(),
            "iat": now, "auth_time": now, "nbf": now, "exp": now + 900, "jti": Uuid::new_v4(),
        });
        jsonwebtoken::encode(&header, &claims, &self.key).unwrap()
    }
}
