//! What a paired device signs to unlock, and its passkey too: good for five minutes, for one device, once.
//!
//! Anybody may ask for a challenge, for any device, so nothing is kept of one until it comes back signed: it names its own end, and
//! a keyed hash over that and the device tells it from one that we did not give. However many a stranger asks for, the device's own
//! counts. It is written down as used only when the device's signature was seen, so that no stranger fills the table either.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sqlx::PgExecutor;
use uuid::Uuid;

use super::super::{secret::keyed_hash, sessions::hash_of};

/// A challenge can be answered for so many seconds.
pub(super) const SECONDS: i32 = 5 * 60;
/// Chance, so that two are never the same.
const NONCE_BYTES: usize = 12;
/// Until when it is good, in seconds since 1970.
const END_BYTES: usize = 8;
/// As much of the keyed hash as nobody guesses.
const MARK_BYTES: usize = 16;

/// A fresh challenge for a device, whether there is such a device or not.
pub(super) fn make(key: &[u8; 32], device_id: Uuid) -> String {
    let mut bytes = Vec::with_capacity(NONCE_BYTES + END_BYTES + MARK_BYTES);
    bytes.extend_from_slice(&rand::random::<[u8; NONCE_BYTES]>());
    bytes.extend_from_slice(&(now() + i64::from(SECONDS)).to_be_bytes());
    let mark = mark(key, device_id, &bytes);
    bytes.extend_from_slice(&mark);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Whether it is one of ours, for this device, in its time.
pub(super) fn is_good(key: &[u8; 32], device_id: Uuid, challenge: &str) -> bool {
    end_of(key, device_id, challenge).is_some_and(|end| end > now())
}

fn end_of(key: &[u8; 32], device_id: Uuid, challenge: &str) -> Option<i64> {
    let bytes = URL_SAFE_NO_PAD.decode(challenge).ok()?;
    if bytes.len() != NONCE_BYTES + END_BYTES + MARK_BYTES {
        return None;
    }
    let (named, given) = bytes.split_at(NONCE_BYTES + END_BYTES);
    verify_slices_are_equal(given, &mark(key, device_id, named)).ok()?;
    Some(i64::from_be_bytes(named[NONCE_BYTES..].try_into().ok()?))
}

/// Uses a signed challenge up: true once.
pub(super) async fn take(executor: impl PgExecutor<'_>, device_id: Uuid, challenge: &str) -> Result<bool, sqlx::Error> {
    let taken = sqlx::query(
        "insert into identity.device_challenges (challenge_hash, device_id, expires_at)
         values ($1, $2, clock_timestamp() + make_interval(secs => $3))
         on conflict on constraint device_challenges_pkey do nothing",
    )
    .bind(hash_of(challenge))
    .bind(device_id)
    // Longer than it can be answered for, whatever the clocks of both say.
    .bind(f64::from(2 * SECONDS))
    .execute(executor)
    .await?;
    Ok(taken.rows_affected() == 1)
}

fn mark(key: &[u8; 32], device_id: Uuid, named: &[u8]) -> [u8; MARK_BYTES] {
    let mut mark = [0; MARK_BYTES];
    mark.copy_from_slice(&keyed_hash(key, &[device_id.as_bytes(), named])[..MARK_BYTES]);
    mark
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_good_for_its_device_and_its_installation_only() {
        let device_id = Uuid::new_v4();
        let challenge = make(&[1; 32], device_id);
        assert!(challenge.len() <= 64);
        assert!(is_good(&[1; 32], device_id, &challenge));
        assert!(!is_good(&[2; 32], device_id, &challenge));
        assert!(!is_good(&[1; 32], Uuid::new_v4(), &challenge));
        for index in 0..challenge.len() - 1 {
            let mut other = challenge.clone().into_bytes();
            other[index] = if other[index] == b'A' { b'B' } else { b'A' };
            assert!(
                !is_good(&[1; 32], device_id, &String::from_utf8(other).unwrap()),
                "{index}"
            );
        }
    }

    #[test]
    fn a_challenge_ends_in_five_minutes() {
        let device_id = Uuid::new_v4();
        let end = end_of(&[1; 32], device_id, &make(&[1; 32], device_id)).unwrap();
        assert!((295..=300).contains(&(end - now())), "{end}");
    }
}
