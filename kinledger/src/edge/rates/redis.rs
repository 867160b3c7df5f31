//! Counts in Redis, for parts that run apart: the same numbers, under one name each, that vanish when they are paid off.
//!
//! Whatever keeps Redis from answering within [`PATIENCE`], the counts of the process serve instead: a limit is never open.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use redis::{
    Script,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use sha2::{Digest, Sha256};

use super::{Charge, Counted, WINDOW_US};

/// How long a request waits for Redis.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long Redis is left alone after it did not answer.
const LEFT_ALONE_FOR: Duration = Duration::from_secs(1);

/// KEYS: the counts. ARGV: the window, then the cost of each, in microseconds. Answers 0 and what each owes, or which of them
/// is over its quota, from 1, and for how long.
const CHARGE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local window = tonumber(ARGV[1])
local paid_off_at, refused, longest = {}, 0, 0
for i, key in ipairs(KEYS) do
  paid_off_at[i] = math.max(tonumber(redis.call('GET', key) or '0'), now)
  local wait = paid_off_at[i] - now + tonumber(ARGV[i + 1]) - window
  if wait > longest then refused, longest = i, wait end
end
if refused > 0 then return {refused, longest} end
local answer = {0}
for i, key in ipairs(KEYS) do
  local owed = paid_off_at[i] - now + tonumber(ARGV[i + 1])
  redis.call('SET', key, string.format('%.0f', now + owed), 'PX', math.ceil(owed / 1000))
  answer[i + 1] = owed
end
return answer";

/// The counts that all processes share.
pub struct RedisCounts {
    connection: ConnectionManager,
    script: Script,
    left_alone_until: Mutex<Option<Instant>>,
}

impl RedisCounts {
    /// Connects at the first use, and again whenever the connection is lost.
    pub fn try_new(url: &str) -> Result<Self, redis::RedisError> {
        let config = ConnectionManagerConfig::new().set_number_of_retries(1);
        Ok(Self {
            connection: ConnectionManager::new_lazy_with_config(redis::Client::open(url)?, config)?,
            script: Script::new(CHARGE),
            left_alone_until: Mutex::default(),
        })
    }

    /// Charges all or, when one is over its quota, none; nothing when Redis does not say so in time.
    pub async fn charge(&self, charges: &[Charge]) -> Option<Counted> {
        if self.left_alone().is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let mut call = self.script.prepare_invoke();
        call.arg(WINDOW_US);
        for charge in charges {
            // An address is somebody's: it is not written down as it is.
            call.key(format!(
                "kinledger:rate:{}",
                hex::encode(&Sha256::digest(&charge.key)[..16])
            ));
            call.arg(charge.cost_us);
        }
        let mut connection = self.connection.clone();
        let asked = call.invoke_async::<Vec<u64>>(&mut connection);
        let said = tokio::time::timeout(PATIENCE, asked).await.ok().and_then(Result::ok);
        self.note(said.is_some());
        match said?.as_slice() {
            [0, owed_us @ ..] if owed_us.len() == charges.len() => Some(Counted::Admitted {
                owed_us: owed_us.to_vec(),
            }),
            [index, wait_us] => Some(Counted::Refused {
                index: usize::try_from(*index)
                    .ok()?
                    .checked_sub(1)
                    .filter(|index| *index < charges.len())?,
                wait_us: *wait_us,
            }),
            _ => None,
        }
    }

    fn note(&self, has_answered: bool) {
        let mut left_alone = self.left_alone();
        match (has_answered, left_alone.is_some()) {
            (true, true) => tracing::info!("Redis answers again; rate limits are counted there"),
            (false, false) => tracing::warn!("Redis does not answer; rate limits are counted in this process"),
            _ => {}
        }
        *left_alone = (!has_answered).then(|| Instant::now() + LEFT_ALONE_FOR);
    }

    fn left_alone(&self) -> MutexGuard<'_, Option<Instant>> {
        self.left_alone_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
