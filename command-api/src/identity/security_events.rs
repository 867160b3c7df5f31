//! What happened to somebody's access, kept for them and for the parents of their family: append only, without addresses in
//! clear, for thirteen months.
//!
//! Everything that changes or tries somebody's access goes through [`record`]. What is about the account alone names no family;
//! what is about a family names it, and only that family's parents read it. `trail` reads it, beside what the family's log tells.

use domain::id::{FamilyId, UserId};
use serde_json::{Map, Value};
use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

/// Longest detail, in bytes of JSON; what is longer is left out.
const DETAIL_BYTES_MAX: usize = 1_800;
/// Events are kept for so many days: thirteen months. `identity.forget_old_security_events` says the same.
pub(super) const TERM_DAYS: i64 = 396;

/// What happened. A new one is a variant and a line in [`Kind::as_str`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    AccountClosed,
    AccountShared,
    AgeBandSet,
    ApiKeyEnded,
    ApiKeyMade,
    AuditTermSet,
    ConsentGiven,
    ConsentWithdrawn,
    CountrySet,
    DeviceForgotten,
    DevicePaired,
    DeviceUnlocked,
    EmailChangeAsked,
    EmailChanged,
    EmailVerified,
    Erased,
    Exported,
    FactorAdded,
    FactorFailed,
    FactorRemoved,
    FamilyHandedOver,
    HandoverOffered,
    HandoverWithdrawn,
    InvitationRevoked,
    Invited,
    Joined,
    KeyRotated,
    MemberAdded,
    MemberLeft,
    MemberRemoved,
    MemberRenamed,
    NewDevice,
    NoticeChanged,
    PasswordChanged,
    PasswordReset,
    PasswordResetAsked,
    PhoneRemoved,
    PhoneVerified,
    RecoveryCodeUsed,
    RecoveryCodesMade,
    RefreshTokenReused,
    Registered,
    RoleChanged,
    SessionEnded,
    SignInFailed,
    SignInLinked,
    SignInUnlinked,
    SignedIn,
    SignedOut,
    SignedOutEverywhere,
    SteppedUp,
    StepUpFailed,
}

impl Kind {
    /// Its stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccountClosed => "account-closed",
            Self::AccountShared => "account-shared",
            Self::AgeBandSet => "age-band-set",
            Self::ApiKeyEnded => "api-key-ended",
            Self::ApiKeyMade => "api-key-made",
            Self::AuditTermSet => "audit-term-set",
            Self::ConsentGiven => "consent-given",
            Self::ConsentWithdrawn => "consent-withdrawn",
            Self::CountrySet => "country-set",
            Self::DeviceForgotten => "device-forgotten",
            Self::DevicePaired => "device-paired",
            Self::DeviceUnlocked => "device-unlocked",
            Self::EmailChangeAsked => "email-change-asked",
            Self::EmailChanged => "email-changed",
            Self::EmailVerified => "email-verified",
            Self::Erased => "erased",
            Self::Exported => "exported",
            Self::FactorAdded => "factor-added",
            Self::FactorFailed => "factor-failed",
            Self::FactorRemoved => "factor-removed",
            Self::FamilyHandedOver => "family-handed-over",
            Self::HandoverOffered => "handover-offered",
            Self::HandoverWithdrawn => "handover-withdrawn",
            Self::InvitationRevoked => "invitation-revoked",
            Self::Invited => "invited",
            Self::Joined => "joined",
            Self::KeyRotated => "key-rotated",
            Self::MemberAdded => "member-added",
            Self::MemberLeft => "member-left",
            Self::MemberRemoved => "member-removed",
            Self::MemberRenamed => "member-renamed",
            Self::NewDevice => "new-device",
            Self::NoticeChanged => "notice-changed",
            Self::PasswordChanged => "password-changed",
            Self::PasswordReset => "password-reset",
            Self::PasswordResetAsked => "password-reset-asked",
            Self::PhoneRemoved => "phone-removed",
            Self::PhoneVerified => "phone-verified",
            Self::RecoveryCodeUsed => "recovery-code-used",
            Self::RecoveryCodesMade => "recovery-codes-made",
            Self::RefreshTokenReused => "refresh-token-reused",
            Self::Registered => "registered",
            Self::RoleChanged => "role-changed",
            Self::SessionEnded => "session-ended",
            Self::SignInFailed => "sign-in-failed",
            Self::SignInLinked => "sign-in-linked",
            Self::SignInUnlinked => "sign-in-unlinked",
            Self::SignedIn => "signed-in",
            Self::SignedOut => "signed-out",
            Self::SignedOutEverywhere => "signed-out-everywhere",
            Self::SteppedUp => "stepped-up",
            Self::StepUpFailed => "step-up-failed",
        }
    }
}

/// One thing that happened, before it is written down.
#[derive(Clone, Debug)]
pub struct SecurityEvent {
    kind: Kind,
    user_id: Option<UserId>,
    family_id: Option<FamilyId>,
    actor_id: Option<UserId>,
    session_id: Option<Uuid>,
    address_hash: Option<[u8; 32]>,
    detail: Map<String, Value>,
}

impl SecurityEvent {
    /// Something about a person's access.
    pub fn about(kind: Kind, user_id: UserId) -> Self {
        Self {
            user_id: Some(user_id),
            ..Self::about_nobody(kind)
        }
    }

    /// Something about a family as a whole, as an export.
    pub fn about_family(kind: Kind, family_id: FamilyId) -> Self {
        Self::about_nobody(kind).in_family(family_id)
    }

    /// Something about the whole installation, as another key.
    pub fn about_all(kind: Kind) -> Self {
        Self::about_nobody(kind)
    }

    fn about_nobody(kind: Kind) -> Self {
        Self {
            kind,
            user_id: None,
            family_id: None,
            actor_id: None,
            session_id: None,
            address_hash: None,
            detail: Map::new(),
        }
    }

    /// It concerns this family, whose parents will read it.
    pub fn in_family(mut self, family_id: FamilyId) -> Self {
        self.family_id = Some(family_id);
        self
    }

    /// Somebody else than the person did it.
    pub fn by(mut self, actor_id: UserId) -> Self {
        self.actor_id = Some(actor_id);
        self
    }

    /// The session it happened in, or to.
    pub fn in_session(mut self, session_id: Uuid) -> Self {
        self.session_id = Some(session_id);
        self
    }

    /// Where it came from, as the keyed hash of an address.
    pub fn from_address(mut self, address_hash: Option<[u8; 32]>) -> Self {
        self.address_hash = address_hash;
        self
    }

    /// A word for people, such as a factor's name. Never a secret, an address or what somebody typed at a prompt for one.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.detail.insert(name.to_owned(), value.into());
        self
    }
}

/// Where they are written down, for who has nothing else to do with identity.
#[derive(Clone, Debug)]
pub struct Trail(PgPool);

impl Trail {
    /// Over a pool in identity's role.
    pub const fn new(pool: PgPool) -> Self {
        Self(pool)
    }

    /// As [`record`].
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn record(&self, event: SecurityEvent) -> Result<(), sqlx::Error> {
        record(&self.0, event).await
    }
}

/// Writes one down; inside the caller's transaction, when `database` is one. A failed guess is written down only for an account
/// that exists.
///
/// # Errors
/// When the database does not take it.
pub async fn record(database: impl PgExecutor<'_>, event: SecurityEvent) -> Result<(), sqlx::Error> {
    let mut detail = Value::Object(event.detail);
    if detail.to_string().len() > DETAIL_BYTES_MAX {
        detail = Value::Object(Map::new());
    }
    sqlx::query(
        "insert into identity.security_events (kind, user_id, family_id, actor_id, session_id, address_hash, detail)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(event.kind.as_str())
    .bind(event.user_id.map(|id| id.uuid()))
    .bind(event.family_id.map(|id| id.uuid()))
    .bind(event.actor_id.map(|id| id.uuid()))
    .bind(event.session_id)
    .bind(event.address_hash)
    .bind(detail)
    .execute(database)
    .await?;
    Ok(())
}
