//! Ends what paired devices have opened as soon as nothing stands behind it: the member is young no longer or gone, or nobody answers
//! for the device any more from whom nothing of theirs is hidden.
//!
//! [`standing`] is asked whenever a device unlocks or refreshes. A session that is open already would go on with its access token for a
//! quarter of an hour: long enough for a parent who was removed, and kept the child's telephone. So every process looks once a second,
//! at each session once, and again whenever something has changed since of what it stands on: who belongs to the family, as what, who
//! sees which account, and who answers for the device. What that was is read before the family is asked, so a change in between is
//! looked at again; and a session opened just after a change is new, and looked at anyway.
//! Whatever ends it is an ordinary end of a session: other processes learn of it as of any other.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use domain::id::{FamilyId, UserId};
use service_kit::{
    problem::Problem,
    shutdown::{self, Shutdown},
};
use uuid::Uuid;

use super::{
    super::{
        Identity, IdentityError,
        security_events::{self, Kind, SecurityEvent},
    },
    standing::{self, Standing},
};

/// How often sessions of paired devices are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Why such a session ends.
const REASON: &str = "device-unattended";

#[derive(sqlx::FromRow)]
struct Open {
    session_id: Uuid,
    user_id: Uuid,
    family_id: Uuid,
    paired_by: Option<Uuid>,
}

/// What a session stood on when it was looked at: the family's revision, and who answered for the device.
type Ground = (i64, Option<Uuid>);

/// Keeps looking until shutdown.
pub(in super::super) async fn attend(identity: &Identity, shutdown: Shutdown) {
    let stop = shutdown::requested(shutdown);
    tokio::pin!(stop);
    let mut seen = HashMap::new();
    loop {
        tokio::select! {
            () = &mut stop => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if let Err(problem) = look(identity, &mut seen).await {
            tracing::warn!(
                code = problem.code(),
                "sessions of paired devices are not looked at; trying again"
            );
        }
    }
}

/// Looks once. `seen` says of each session that stands what it stood on.
async fn look(identity: &Identity, seen: &mut HashMap<Uuid, Ground>) -> Result<(), Problem> {
    let open: Vec<Open> = sqlx::query_as(
        "select session_id, paired_devices.user_id, family_id, paired_by
         from identity.sessions
         join identity.paired_devices on paired_devices.device_id = sessions.paired_device_id
         where sessions.paired_device_id is not null
             and sessions.revoked_at is null
             and sessions.expires_at > clock_timestamp()",
    )
    .fetch_all(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    let families: BTreeSet<FamilyId> = open.iter().map(|one| FamilyId::from_uuid(one.family_id)).collect();
    let families: Vec<FamilyId> = families.into_iter().collect();
    let revisions = identity.families().revisions(&families).await?;
    let mut standing_on = HashMap::with_capacity(open.len());
    for session in open {
        let family_id = FamilyId::from_uuid(session.family_id);
        let ground = (
            revisions.get(&family_id).copied().unwrap_or_default(),
            session.paired_by,
        );
        if seen.get(&session.session_id) == Some(&ground) {
            standing_on.insert(session.session_id, ground);
            continue;
        }
        match stands(identity, &session).await {
            Ok(true) => {
                standing_on.insert(session.session_id, ground);
            }
            Ok(false) => end(identity, &session).await.map_err(IdentityError::Database)?,
            // One family that cannot be asked keeps no other's sessions open; it is asked again.
            Err(problem) => {
                tracing::warn!(family.id = %family_id, code = problem.code(), "who answers for a paired device is not known");
            }
        }
    }
    *seen = standing_on;
    Ok(())
}

async fn stands(identity: &Identity, session: &Open) -> Result<bool, Problem> {
    let (family_id, user_id) = (
        FamilyId::from_uuid(session.family_id),
        UserId::from_uuid(session.user_id),
    );
    match standing::of(identity, family_id, user_id, session.paired_by).await {
        Ok(standing) => Ok(matches!(standing, Standing::Opens(_))),
        // Who waits for a parent's consent is told so by everything they ask for, as others of their family are.
        Err(problem) if problem.status().is_client_error() => Ok(true),
        Err(problem) => Err(problem),
    }
}

async fn end(identity: &Identity, session: &Open) -> Result<(), sqlx::Error> {
    let mut tx = identity.pool().begin().await?;
    let ended = sqlx::query(
        "update identity.sessions
         set revoked_at = clock_timestamp(), revoke_reason = $2
         where session_id = $1 and revoked_at is null",
    )
    .bind(session.session_id)
    .bind(REASON)
    .execute(&mut *tx)
    .await?;
    // Another process may have been faster, and written it down.
    if ended.rows_affected() == 1 {
        let event = SecurityEvent::about(Kind::SessionEnded, UserId::from_uuid(session.user_id))
            .in_family(FamilyId::from_uuid(session.family_id))
            .in_session(session.session_id)
            .with("reason", REASON);
        security_events::record(&mut *tx, event).await?;
    }
    tx.commit().await?;
    identity.verifier().revoke(session.session_id);
    Ok(())
}
