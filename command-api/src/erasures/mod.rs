//! What an erasure has to do beside its append.
//!
//! The append itself destroys the keys and ends the place (ADR 0037); projectors clear the rows. Here is the rest, kept up with by a
//! task that asks the database what was erased, so that whatever dies in between, the next start does it:
//!
//! - the rows of `identity` that are about the member in the family are removed ([`forget_places`]), and the account of who signed in
//!   by devices that were paired for that place alone is closed: nobody could, who comes in by none;
//! - the erasure is written into the [`register`] outside the database, and so is every account that was closed.
//!
//! At a start the register is applied first ([`Erasures::apply_register`]), before anybody is answered: what a restored backup
//! brought back is recorded in its log again, which destroys it and from which all else follows. It is recorded before keys are
//! destroyed by hand where there is nothing to record: whatever breaks off in between, the next start finds it due again, and no
//! row stays readable for want of an event.

mod accounts;
pub mod register;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::{HeaderMap, StatusCode};
use chrono::{DateTime, Utc};
use domain::{
    commands::AnyCommand,
    family::commands::RecordErasure,
    id::{CommandId, MemberId, UserId},
};
use event_store::keys::{
    KeysError,
    erase::{self, Erasure},
};
use service_kit::{
    auth::SignedIn,
    shutdown::{self, Shutdown},
};
use sqlx::PgPool;
use uuid::Uuid;

use self::register::{Erased, Gone, Register, RegisterError};
use crate::{
    CommandApi,
    dispatch::{self, Request},
    identity::Families,
};

/// How often it is asked whether anybody was erased: one small question.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Erasures taken in hand at once.
const PAGE: i64 = 1_000;
/// How long an append may take to its commit, at the very most: an erasure is not overlooked because a later one was seen first.
const OVERLAP: chrono::Duration = chrono::Duration::minutes(5);

/// Why erasures cannot be kept up with just now.
#[derive(Debug, thiserror::Error)]
pub enum ErasuresError {
    /// The keys' tables.
    #[error("erasures cannot be read or applied")]
    Keys(#[from] KeysError),
    /// The register.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The log did not take it.
    #[error("an erasure cannot be recorded again: {0}")]
    NotRecorded(String),
    /// The tables of identity.
    #[error("rows about somebody who was erased cannot be removed")]
    Database(#[from] sqlx::Error),
    /// The log.
    #[error("where somebody who was erased has another place cannot be read: {0}")]
    Places(String),
}

/// Keeps up with erasures.
pub struct Erasures {
    api: CommandApi,
    identities: PgPool,
    register: Option<Arc<Mutex<Register>>>,
    /// Done in this process.
    done: HashSet<Erased>,
    /// Up to when it has looked.
    seen_to: DateTime<Utc>,
    /// `keys.changes.epoch` when it last looked.
    epoch: Option<i64>,
    /// Up to when it has looked for closed accounts.
    closed_to: DateTime<Utc>,
}

impl Erasures {
    /// With a register, or without. `identities` is a pool in identity's role: the writer, who destroys keys, has no right there.
    pub fn new(api: CommandApi, identities: PgPool, register: Option<Register>) -> Self {
        Self {
            api,
            identities,
            register: register.map(|register| Arc::new(Mutex::new(register))),
            done: HashSet::new(),
            seen_to: DateTime::UNIX_EPOCH,
            epoch: None,
            closed_to: DateTime::UNIX_EPOCH,
        }
    }

    fn pool(&self) -> &PgPool {
        self.api.log().pool()
    }

    /// Destroys again what the register has and this database does not know of, because it was restored; says how many.
    ///
    /// # Errors
    /// [`ErasuresError`]: then nobody may be answered.
    pub async fn apply_register(&self) -> Result<usize, ErasuresError> {
        let Some(register) = &self.register else {
            return Ok(0);
        };
        let (all, closed): (Vec<Erased>, Vec<UserId>) = {
            let register = register.lock().unwrap_or_else(PoisonError::into_inner);
            (register.erased().collect(), register.closed().collect())
        };
        let mut applied = 0;
        for page in all.chunks(1_000) {
            for (family_id, member_id) in erase::not_erased(self.pool(), page).await? {
                tracing::warn!(family.id = %family_id, "an erasure is applied again: the database is of before it");
                self.record((family_id, member_id)).await?;
                match member_id {
                    Some(member) => erase::destroy_keys(self.pool(), family_id, &[member.uuid()]).await?,
                    None => erase::destroy_family_keys(self.pool(), family_id).await?,
                };
                self.api.log().forget_keys();
                applied += 1;
            }
        }
        for page in closed.chunks(1_000) {
            applied += accounts::close_again(&self.identities, &self.api, page).await?;
        }
        Ok(applied)
    }

    /// Records an erasure again in the log, where there is anything to record.
    async fn record(&self, (family_id, member_id): Erased) -> Result<(), ErasuresError> {
        let command: Arc<dyn AnyCommand> = Arc::new(RecordErasure { member_id });
        let signed_in = SignedIn {
            user_id: UserId::from_uuid(Uuid::nil()),
            session_id: Uuid::nil(),
            proven_at: 0,
            is_paired: false,
        };
        let request = Request {
            family_id,
            command_id: CommandId::from_uuid(Uuid::now_v7()),
            signed_in,
            command,
            if_match: None,
            traceparent: dispatch::traceparent(&HeaderMap::new()),
            bytes: 0,
        };
        match self.api.execute(request).await {
            Ok(_) => Ok(()),
            // The member came later than the backup.
            Err(problem) if [StatusCode::NOT_FOUND, StatusCode::UNPROCESSABLE_ENTITY].contains(&problem.status()) => {
                tracing::info!(family.id = %family_id, code = problem.code(), "the log needs no record of an erasure");
                Ok(())
            }
            Err(problem) => Err(ErasuresError::NotRecorded(problem.code().to_owned())),
        }
    }

    /// Keeps up until shutdown.
    pub async fn run(mut self, shutdown: Shutdown) {
        let stop = shutdown::requested(shutdown);
        tokio::pin!(stop);
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(error = %error, "erasures are not followed up; trying again");
            }
            tokio::select! {
                () = &mut stop => break,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        // What was asked for last is not left to the next start.
        if let Err(error) = self.look().await {
            tracing::warn!(error = %error, "erasures are followed up at the next start");
        }
    }

    /// Does what erasures since the last look have left to do.
    ///
    /// # Errors
    /// [`ErasuresError`]; the next look does it.
    pub async fn look(&mut self) -> Result<(), ErasuresError> {
        self.look_for_closed_accounts().await?;
        let epoch = erase::epoch(self.pool()).await?;
        if self.epoch == Some(epoch) {
            return Ok(());
        }
        let mut after = (self.seen_to, Uuid::nil(), Uuid::nil());
        loop {
            let page = erase::erasures_after(self.pool(), after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = (last.erased_at, last.family_id.uuid(), last.subject);
            let due: Vec<Erasure> = page
                .into_iter()
                .filter(|one| !self.done.contains(&whose(one)))
                .collect();
            self.follow_up(&due).await?;
            self.seen_to = self.seen_to.max(after.0 - OVERLAP);
            self.done.extend(due.iter().map(whose));
        }
        self.epoch = Some(epoch);
        Ok(())
    }

    async fn look_for_closed_accounts(&mut self) -> Result<(), ErasuresError> {
        if self.register.is_none() {
            return Ok(());
        }
        let mut after = (self.closed_to, Uuid::nil());
        loop {
            let page = accounts::closed_after(&self.identities, after, PAGE).await?;
            let Some((last, at)) = page.last() else { break };
            after = (*at, last.uuid());
            let lines = page.iter().map(|(user, at)| (Gone::Account(*user), *at)).collect();
            self.register(lines).await?;
            self.closed_to = self.closed_to.max(after.0 - OVERLAP);
        }
        Ok(())
    }

    async fn register(&self, lines: Vec<(Gone, DateTime<Utc>)>) -> Result<(), ErasuresError> {
        let Some(register) = self.register.clone() else {
            return Ok(());
        };
        let added =
            tokio::task::spawn_blocking(move || register.lock().unwrap_or_else(PoisonError::into_inner).add(&lines));
        added
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        Ok(())
    }

    async fn follow_up(&self, due: &[Erasure]) -> Result<(), ErasuresError> {
        if due.is_empty() {
            return Ok(());
        }
        let mut closing = Vec::new();
        for user_id in without_another_way_in(&self.identities, due).await? {
            let places = self.api.places_of(user_id).await;
            let places = places.map_err(|problem| ErasuresError::Places(problem.code().to_owned()))?;
            if places.is_empty() {
                closing.push(user_id);
            }
        }
        forget_places(&self.identities, due, &closing).await?;
        let lines = due.iter().map(|one| (Gone::Place(whose(one)), one.erased_at)).collect();
        self.register(lines).await
    }
}

/// A subject is the member, or the family itself.
fn whose(erasure: &Erasure) -> Erased {
    let is_family = erasure.subject == erasure.family_id.uuid();
    (
        erasure.family_id,
        (!is_family).then(|| MemberId::from_uuid(erasure.subject)),
    )
}

/// Whose only way in are devices that were paired for these places.
async fn without_another_way_in(pool: &PgPool, due: &[Erasure]) -> Result<Vec<UserId>, sqlx::Error> {
    let (families, subjects) = places(due);
    let accounts: Vec<(Uuid,)> = sqlx::query_as(
        "select distinct d.user_id
         from identity.paired_devices d
         join unnest($1::uuid[], $2::uuid[]) e (family_id, subject_id)
             on d.family_id = e.family_id and e.subject_id in (d.member_id, d.family_id)
         join identity.users u using (user_id)
         where u.email is null
             and not exists (select 1 from identity.linked_sign_ins l where l.user_id = u.user_id)
             and not exists (select 1 from identity.passkeys p where p.user_id = u.user_id)
             and not exists (select 1 from identity.phones p where p.user_id = u.user_id)",
    )
    .bind(families)
    .bind(subjects)
    .fetch_all(pool)
    .await?;
    Ok(accounts
        .into_iter()
        .map(|(user_id,)| UserId::from_uuid(user_id))
        .collect())
}

fn places(due: &[Erasure]) -> (Vec<Uuid>, Vec<Uuid>) {
    due.iter().map(|one| (one.family_id.uuid(), one.subject)).unzip()
}

/// Sessions of devices that were paired for these places end. They stay, so that every process learns of it.
const END_SESSIONS: &str = "update identity.sessions s
     set revoked_at = coalesce(s.revoked_at, clock_timestamp()),
         revoke_reason = coalesce(s.revoke_reason, 'erased'),
         device = '',
         paired_device_id = null
     from identity.paired_devices d, unnest($1::uuid[], $2::uuid[]) e (family_id, subject_id)
     where s.paired_device_id = d.device_id and d.family_id = e.family_id and e.subject_id in (d.member_id, d.family_id)";

/// Of every table of identity that is about places in families: what is about these goes.
const FORGET: &[&str] = &[
    "delete from identity.pairings p
     using unnest($1::uuid[], $2::uuid[]) e (family_id, subject_id)
     where p.family_id = e.family_id and e.subject_id in (p.member_id, p.family_id)",
    "delete from identity.paired_devices d
     using unnest($1::uuid[], $2::uuid[]) e (family_id, subject_id)
     where d.family_id = e.family_id and e.subject_id in (d.member_id, d.family_id)",
    "delete from identity.invitations i
     using unnest($1::uuid[], $2::uuid[]) e (family_id, subject_id)
     where i.family_id = e.family_id and e.subject_id in (i.member_id, i.family_id)",
    "delete from identity.api_keys k
     using unnest($1::uuid[], $2::uuid[]) e (family_id, subject_id)
     where k.family_id = e.family_id and e.subject_id = k.family_id",
];

/// Removes what identity knows of members in their families; again is harmless.
async fn forget_places(pool: &PgPool, due: &[Erasure], closing: &[UserId]) -> Result<(), sqlx::Error> {
    let (families, subjects) = places(due);
    let mut tx = pool.begin().await?;
    for statement in std::iter::once(&END_SESSIONS).chain(FORGET) {
        sqlx::query(statement)
            .bind(&families)
            .bind(&subjects)
            .execute(&mut *tx)
            .await?;
    }
    for user_id in closing {
        sqlx::query("select identity.close_account($1)")
            .bind(user_id.uuid())
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await
}
