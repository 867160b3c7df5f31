//! Who somebody is: register, sign in, refresh, sign out, and join a family by invitation.
//!
//! What somebody may do is not decided here: membership and role are the family's own state, asked through [`Families`].
//! A password, a token or a code is never logged and never stored in clear.

mod account;
mod address;
mod api_keys;
mod body;
mod breached;
mod device_list;
mod devices;
mod factors;
mod guesses;
mod invitations;
mod join;
mod keys;
mod new_way_in;
mod openapi;
mod pairing;
mod password_policy;
mod passwords;
mod phone;
mod profile;
mod providers;
mod queue;
mod refresh;
mod register;
mod retention;
mod sealing;
mod secret;
pub mod security_events;
mod session_list;
mod sessions;
mod sign_in;
pub mod sign_ins;
mod sign_out;
mod step_up;
mod throttle;
pub mod trail;
mod ways_in;

use std::{collections::HashMap, fmt, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, FromRef, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use connectors::{channels::Channels, sign_in::Providers};
use domain::{
    actor::Role,
    id::{CommandId, FamilyId, MemberId, UserId},
};
use serde::Deserialize;
use service_kit::{
    auth::{TokenVerifier, VerifierError},
    database,
    problem::Problem,
    shutdown::Shutdown,
};
use sqlx::{PgPool, Postgres, Transaction};

use account::{errands::Errands, postbox::Postbox};
use factors::passkeys::RelyingParty;
use guesses::Guesses;
use keys::KeyRing;
use passwords::Passwords;
use phone::Phones;
use providers::SignInProviders;
use sealing::Sealing;
use throttle::Throttle;
use trail::history::FamilyHistory;

pub use account::operators_reset_token;
pub use breached::BreachedError;
pub use keys::{NextKey, rotate_signing_key};
pub use openapi::openapi_paths;
pub use secret::{SECRET_VARIABLE, Secret, SecretError};
pub use service_kit::address::Network;

/// How often keys are read again and old sessions removed.
const UPKEEP_EVERY: Duration = Duration::from_secs(60);

/// What identity asks of the families' log.
#[async_trait]
pub trait Families: Send + Sync {
    /// The person's place and role in the family; none when the family does not exist or they do not belong to it.
    async fn role_of(&self, family_id: FamilyId, user_id: UserId) -> Result<Option<(MemberId, Role)>, Problem>;

    /// The role of a place that exists, that nobody has taken and that can be taken now; otherwise the problem to answer.
    async fn open_place(&self, family_id: FamilyId, member_id: MemberId) -> Result<Role, Problem>;

    /// The member's role, and who holds the place; otherwise the problem to answer.
    async fn member(&self, family_id: FamilyId, member_id: MemberId) -> Result<(Role, Option<UserId>), Problem>;

    /// The role and holder of a place, also while a parent's consent to it is missing.
    ///
    /// # Errors
    /// 404 when there is no such place, or it is over.
    async fn place(&self, family_id: FamilyId, member_id: MemberId) -> Result<(Role, Option<UserId>), Problem>;

    /// Is an account of a member's hidden from another member of the family?
    async fn hides_from(&self, family_id: FamilyId, owner: MemberId, from: MemberId) -> Result<bool, Problem>;

    /// A number of each family that is another one as soon as something changes about who belongs to it, as what, or who sees which
    /// account. None of a family that does not exist.
    async fn revisions(&self, families: &[FamilyId]) -> Result<HashMap<FamilyId, i64>, Problem>;

    /// Every place that somebody has now, in whatever family; an auditor's also when its term is over.
    async fn places_of(&self, user_id: UserId) -> Result<Vec<Place>, Problem>;

    /// The person leaves the family; an auditor also when their term is over. The same command again answers alike.
    async fn leave(&self, family_id: FamilyId, user_id: UserId, command_id: CommandId) -> Result<(), Problem>;

    /// As [`Families::leave`], and what the person wrote in the family is erased.
    async fn erase(&self, family_id: FamilyId, user_id: UserId, command_id: CommandId) -> Result<(), Problem>;

    /// Who sat in which place of the family when, and what its log tells this member of changes to access.
    async fn history(&self, family_id: FamilyId, member_id: MemberId) -> Result<FamilyHistory, Problem>;

    /// Puts the person in the member's place. The same command again answers alike; a taken place is refused.
    async fn join(
        &self,
        family_id: FamilyId,
        member_id: MemberId,
        user_id: UserId,
        command_id: CommandId,
    ) -> Result<serde_json::Value, Problem>;
}

/// A place that somebody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In this family.
    pub family_id: FamilyId,
    /// Which place.
    pub member_id: MemberId,
    /// Its role.
    pub role: Role,
    /// Without them the family would have no parent.
    pub is_last_parent: bool,
}

/// How identity behaves.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityConfig {
    /// Memory of one password hash, in KiB. Default 65536; at least 19456 with two iterations or 47104 with one.
    pub argon2_memory_kib: u32,
    /// Passes over that memory. Default 3. A raised value renews a stored hash when its owner next signs in.
    pub argon2_iterations: u32,
    /// Lanes of one password hash. Default 1.
    pub argon2_parallelism: u32,
    /// Password hashes computed at once. Default: one a core.
    pub password_hashes_at_once: Option<usize>,
    /// Password hashes that may wait; more are answered 429. Default 32.
    pub password_queue_max: usize,
    /// Proxies whose `X-Forwarded-For` is believed, as networks. Default none.
    pub trusted_proxies: Vec<Network>,
    /// The address people open, such as `https://kinledger.example`: passkeys are bound to its domain, and links in mails begin
    /// with it. Default `http://localhost:8080`.
    pub public_url: String,
    /// Whether an e-mail address has to be verified before its account is of use. Default: it need not be.
    pub email_verification: EmailVerification,
    /// Fewest characters of a new password, 8 to 64. Default 8.
    pub password_characters_min: Option<usize>,
    /// A file of passwords known from breaches: lines of SHA-1, colon and count, sorted. Default none.
    pub breached_passwords: Option<PathBuf>,
    /// How people are reached outside the application. Default not at all.
    #[serde(skip)]
    pub channels: Channels,
    /// Whose accounts people may sign in by. Default nobody's.
    #[serde(skip)]
    pub sign_in_providers: Providers,
}

/// What an e-mail address is worth that nobody verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EmailVerification {
    /// Its account works; a mail asks to verify it where mail is set up.
    #[default]
    Optional,
    /// Its account cannot be signed in to, and registering does not tell whether the address was taken. Needs mail.
    Required,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self {
            argon2_memory_kib: 65_536,
            argon2_iterations: 3,
            argon2_parallelism: 1,
            password_hashes_at_once: None,
            password_queue_max: 32,
            trusted_proxies: Vec::new(),
            public_url: "http://localhost:8080".to_owned(),
            email_verification: EmailVerification::default(),
            password_characters_min: None,
            breached_passwords: None,
            channels: Channels::default(),
            sign_in_providers: Providers::default(),
        }
    }
}

/// Why identity cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The parameters for password hashes are too weak or impossible.
    #[error("argon2 parameters: {0}")]
    Argon2(String),
    /// A signing key cannot be made or used.
    #[error("signing key: {0}")]
    Key(String),
    /// Browsers would not let pages of this address use passkeys.
    #[error("'{0}' is no address like https://kinledger.example; http is for localhost only")]
    PublicUrl(String),
    /// The signing keys in the database were sealed with another secret.
    #[error("this database was set up with another secret; restore that one (the secret file or {SECRET_VARIABLE})")]
    OtherSecret,
    /// A setting makes no sense, or lacks another.
    #[error("{0}")]
    Settings(String),
    /// The file of breached passwords cannot be used.
    #[error(transparent)]
    Breached(#[from] BreachedError),
    /// The database does not answer as it should.
    #[error("cannot read or write identities")]
    Database(#[from] sqlx::Error),
    /// Keys and ended sessions cannot be read.
    #[error(transparent)]
    Verifier(#[from] VerifierError),
}

impl From<IdentityError> for Problem {
    fn from(error: IdentityError) -> Self {
        match &error {
            IdentityError::Database(cause) if database::is_unavailable(cause) => Problem::of_database(cause),
            _ => Problem::ours(&error),
        }
    }
}

/// Everything the routes need. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    inner: Arc<Inner>,
}

struct Inner {
    pool: PgPool,
    keys: KeyRing,
    verifier: Arc<TokenVerifier>,
    passwords: Passwords,
    throttle: Throttle,
    guesses: Guesses,
    families: Arc<dyn Families>,
    trusted_proxies: Vec<Network>,
    postbox: Arc<Postbox>,
    errands: Errands,
    email_verification: EmailVerification,
    refresh_key: [u8; 32],
    address_key: [u8; 32],
    trail_key: [u8; 32],
    invited_key: [u8; 32],
    challenge_key: [u8; 32],
    device_cookie_key: [u8; 32],
    seeds: Sealing,
    relying_party: RelyingParty,
    providers: SignInProviders,
    phones: Phones,
}

impl Identity {
    /// Reads or makes the signing keys. `pool` acts in identity's role.
    ///
    /// # Errors
    /// [`IdentityError`]: weak parameters, a secret that does not fit the database, or a database that does not answer.
    pub async fn open(
        pool: PgPool,
        secret: &Secret,
        config: &IdentityConfig,
        families: Arc<dyn Families>,
    ) -> Result<Self, IdentityError> {
        let keys = KeyRing::open(pool.clone(), secret).await?;
        let verifier = TokenVerifier::load(&pool).await?;
        let postbox = Arc::new(Postbox::try_new(config)?);
        if config.email_verification == EmailVerification::Required && !postbox.has_mail() {
            let reason = "e-mail addresses cannot be verified without a mail server (KINLEDGER_SMTP_URL)";
            return Err(IdentityError::Settings(reason.to_owned()));
        }
        let inner = Inner {
            keys,
            verifier,
            passwords: Passwords::try_new(config, secret)?,
            throttle: Throttle::default(),
            guesses: Guesses::new(pool.clone(), secret.derive("guesses/1")),
            families,
            trusted_proxies: config.trusted_proxies.clone(),
            errands: Errands::start(pool.clone(), Arc::clone(&postbox)),
            postbox,
            email_verification: config.email_verification,
            refresh_key: secret.derive("refresh-tokens/1"),
            address_key: secret.derive("network-addresses/1"),
            trail_key: secret.derive("security-trail/1"),
            invited_key: secret.derive("invited-addresses/1"),
            challenge_key: secret.derive("device-challenges/1"),
            device_cookie_key: secret.derive("device-cookies/1"),
            relying_party: RelyingParty::of(&config.public_url)?,
            seeds: Sealing::for_purpose(secret, "totp-seeds/1"),
            providers: SignInProviders::new(&config.sign_in_providers, secret),
            phones: Phones::new(secret),
            pool,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What tells signed-in people from others; share it with every other router of the process.
    pub fn verifier(&self) -> &Arc<TokenVerifier> {
        &self.inner.verifier
    }

    /// Where what happens to somebody's access is written down.
    pub fn trail(&self) -> security_events::Trail {
        security_events::Trail::new(self.inner.pool.clone())
    }

    /// Is an account signed in to by devices that a parent paired, and in no other way?
    ///
    /// # Errors
    /// When the database does not say.
    pub async fn has_paired_devices_only(&self, user_id: UserId) -> Result<bool, IdentityError> {
        ways_in::are_paired_devices_only(self.pool(), user_id).await
    }

    /// Whether what somebody asked by still counts.
    pub fn sign_ins(&self) -> sign_ins::SignIns {
        sign_ins::SignIns::new(self.inner.pool.clone())
    }

    /// Keeps keys current, learns of sessions that other processes ended, ends those of paired devices that nothing stands behind any
    /// more, and removes what is long over, until shutdown.
    pub async fn run_upkeep(self, shutdown: Shutdown) {
        let attending = pairing::attend(&self, shutdown.clone());
        let watching = Arc::clone(self.verifier()).watch_revocations(self.inner.pool.clone(), shutdown.clone());
        let keeping = async {
            let stop = service_kit::shutdown::requested(shutdown);
            tokio::pin!(stop);
            loop {
                tokio::select! {
                    () = &mut stop => return,
                    () = tokio::time::sleep(UPKEEP_EVERY) => {}
                }
                if let Err(error) = self.inner.keys.refresh().await {
                    tracing::warn!(error = %error, "signing keys cannot be read; the known ones stay");
                }
                self.forget_what_is_over().await;
            }
        };
        tokio::join!(watching, attending, keeping);
    }

    /// Forgets whatever its term is over for, once; upkeep does it every minute. What cannot be forgotten now is logged, and tried
    /// again the next time.
    pub async fn forget_what_is_over(&self) {
        retention::run(&self.inner.pool).await;
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.inner.pool
    }

    /// A transaction about one family's members: no row that names another family is there, whatever a statement forgets.
    async fn about(&self, family_id: FamilyId) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        // A setting takes no parameter, and the text of a UUID needs no quoting.
        let begin = format!("begin; set local kinledger.family_id = '{}'", family_id.uuid());
        self.inner.pool.begin_with(begin).await
    }

    fn keys(&self) -> &KeyRing {
        &self.inner.keys
    }

    fn passwords(&self) -> &Passwords {
        &self.inner.passwords
    }

    fn throttle(&self) -> &Throttle {
        &self.inner.throttle
    }

    fn guesses(&self) -> &Guesses {
        &self.inner.guesses
    }

    pub(crate) fn families(&self) -> &dyn Families {
        self.inner.families.as_ref()
    }

    fn trusted_proxies(&self) -> &[Network] {
        &self.inner.trusted_proxies
    }

    fn postbox(&self) -> &Postbox {
        &self.inner.postbox
    }

    /// Whose accounts people may sign in by.
    fn providers(&self) -> &SignInProviders {
        &self.inner.providers
    }

    /// What numbers are looked up and kept by.
    fn phones(&self) -> &Phones {
        &self.inner.phones
    }

    fn errands(&self) -> &Errands {
        &self.inner.errands
    }

    fn requires_verified_email(&self) -> bool {
        self.inner.email_verification == EmailVerification::Required
    }

    fn refresh_key(&self) -> &[u8; 32] {
        &self.inner.refresh_key
    }

    /// What names the events of the trail.
    fn trail_key(&self) -> &[u8; 32] {
        &self.inner.trail_key
    }

    /// What tells an address again that somebody was invited at.
    fn invited_key(&self) -> &[u8; 32] {
        &self.inner.invited_key
    }

    /// What marks the challenges of paired devices as ours.
    fn challenge_key(&self) -> &[u8; 32] {
        &self.inner.challenge_key
    }

    /// What marks the cookies of devices with their account.
    fn device_cookie_key(&self) -> &[u8; 32] {
        &self.inner.device_cookie_key
    }

    /// Who we are to an authenticator.
    fn relying_party(&self) -> &RelyingParty {
        &self.inner.relying_party
    }

    /// What seals the seeds of authenticator apps.
    fn seeds(&self) -> &Sealing {
        &self.inner.seeds
    }

    /// Tells the same address again without keeping it.
    fn address_hash(&self, address: Option<IpAddr>) -> Option<[u8; 32]> {
        let text = address?.to_string();
        Some(secret::keyed_hash(&self.inner.address_key, &[text.as_bytes()]))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}

impl FromRef<Identity> for Arc<TokenVerifier> {
    fn from_ref(identity: &Identity) -> Self {
        Arc::clone(identity.verifier())
    }
}

/// All routes of identity. Serve them with connect info (`into_make_service_with_connect_info::<SocketAddr>()`), or guesses
/// are counted by account only.
pub fn router(identity: Identity) -> Router {
    Router::new()
        .route("/api/v1/auth/register", post(register::register))
        .route("/api/v1/auth/login", post(sign_in::sign_in))
        .route("/api/v1/auth/refresh", post(refresh::refresh))
        .route("/api/v1/auth/logout", post(sign_out::sign_out))
        .route(
            "/api/v1/auth/profile",
            get(profile::profile).put(profile::change_profile),
        )
        .route("/api/v1/auth/join", post(join::join))
        .route("/.well-known/jwks.json", get(jwks))
        .merge(api_keys::routes())
        .merge(invitations::routes())
        .merge(factors::routes())
        .merge(pairing::routes())
        .merge(account::routes())
        .merge(phone::routes())
        .merge(providers::routes())
        .merge(device_list::routes())
        .merge(session_list::routes())
        .merge(step_up::routes())
        .merge(trail::routes())
        .layer(DefaultBodyLimit::max(body::BODY_BYTES_MAX))
        .with_state(identity)
}

async fn jwks(State(identity): State<Identity>) -> Response {
    let caching = [(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"))];
    (caching, Json(identity.keys().jwks())).into_response()
}

/// An answer that nobody on the way may keep.
fn private(response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
