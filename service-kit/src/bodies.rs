//! Reading bodies: bounded in bytes and in time, and large ones also in how many are in memory at once.
//!
//! A small body is bounded by itself, and there is at most one a connection. Large ones (statements, batches) would add up to
//! gigabytes over a few hundred connections, so only a few of them are in memory; one more is told to come back.
//! Handlers read the body themselves, after they know who asks: a stranger's body is never read.

use std::{ops::Deref, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, StatusCode, header},
};
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;

/// Largest body that is bounded by itself, in bytes.
pub const SMALL_BYTES_MAX: usize = 64 * 1024;
/// The bodies one process reads; cheap to clone.
#[derive(Clone)]
pub struct Bodies {
    large: Arc<Semaphore>,
    read_within: Duration,
}

/// A body in memory; what holds it counts as one of the large ones.
#[derive(Debug)]
pub struct Read {
    bytes: Bytes,
    _held: Option<OwnedSemaphorePermit>,
}

impl Read {
    /// The bytes, which share the memory of the body; keep the body as long.
    pub fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }
}

impl Deref for Read {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Bodies {
    /// So many large bodies are in memory at once, and a client may take so long to send one.
    pub fn new(large_at_once: usize, read_within: Duration) -> Self {
        Self {
            large: Arc::new(Semaphore::new(large_at_once)),
            read_within,
        }
    }

    /// Reads a body of at most so many bytes.
    ///
    /// # Errors
    /// 413 when it is larger, at once when it says so; 429 when too many large ones are being read; 408 when it does not
    /// arrive in time.
    pub async fn read(&self, headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Read, Problem> {
        let declared = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if declared.is_some_and(|length| length > bytes_max) {
            return Err(too_large(bytes_max));
        }
        let is_small = bytes_max <= SMALL_BYTES_MAX || declared.is_some_and(|length| length <= SMALL_BYTES_MAX);
        let held = if is_small {
            None
        } else {
            let busy = |_| Problem::too_fast(1, "too many large bodies are being read just now; try again shortly");
            Some(Arc::clone(&self.large).try_acquire_owned().map_err(busy)?)
        };
        match tokio::time::timeout(self.read_within, collect(body, bytes_max)).await {
            Ok(bytes) => Ok(Read {
                bytes: bytes?,
                _held: held,
            }),
            Err(_) => Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "too-slow",
                "the body did not arrive in time",
            )),
        }
    }
}

async fn collect(body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let broken = |_| Problem::malformed("the body cannot be read");
    let mut chunks = body.into_data_stream();
    let Some(first) = chunks.next().await else {
        return Ok(Bytes::new());
    };
    let first = first.map_err(broken)?;
    if first.len() > bytes_max {
        return Err(too_large(bytes_max));
    }
    // Most bodies come in one piece, which is not copied.
    let Some(second) = chunks.next().await else {
        return Ok(first);
    };
    let mut whole = Vec::from(first);
    let mut next = Some(second);
    while let Some(chunk) = next {
        let chunk = chunk.map_err(broken)?;
        if whole.len() + chunk.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        whole.extend_from_slice(&chunk);
        next = chunks.next().await;
    }
    Ok(whole.into())
}

fn too_large(bytes_max: usize) -> Problem {
    let detail = format!("the body may have at most {bytes_max} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    const LARGE_BYTES_MAX: usize = 16 * 1024 * 1024;
    const LARGE_AT_ONCE: usize = 8;

    fn bodies() -> Bodies {
        Bodies::new(LARGE_AT_ONCE, Duration::from_secs(30))
    }

    fn declared(length: usize) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_LENGTH, length.into())])
    }

    /// A body of so many pieces of a kibibyte; and how many of them were read.
    fn pieces(count: usize) -> (Body, Arc<Semaphore>) {
        let read = Arc::new(Semaphore::new(0));
        let counted = Arc::clone(&read);
        let body = Body::from_stream(stream::iter(0..count).map(move |_| {
            counted.add_permits(1);
            Ok::<_, std::convert::Infallible>(Bytes::from_static(&[b' '; 1024]))
        }));
        (body, read)
    }

    #[tokio::test]
    async fn a_body_that_says_it_is_too_large_is_not_read_at_all() {
        let (body, read) = pieces(65);
        let refused = bodies().read(&declared(65 * 1024), body, SMALL_BYTES_MAX).await;
        assert_eq!(refused.expect_err("too large").status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(read.available_permits(), 0);
    }

    #[tokio::test]
    async fn a_body_of_unknown_length_is_read_to_its_limit_and_no_further() {
        for (count, is_taken) in [(0, true), (1, true), (64, true), (65, false), (1_000_000, false)] {
            let (body, read) = pieces(count);
            let answer = bodies().read(&HeaderMap::new(), body, SMALL_BYTES_MAX).await;
            match answer {
                Ok(body) if is_taken => assert_eq!(body.len(), count * 1024),
                Err(problem) if !is_taken => assert_eq!(problem.status(), StatusCode::PAYLOAD_TOO_LARGE),
                other => panic!("{count} KiB: {other:?}"),
            }
            assert_eq!(read.available_permits(), count.min(65), "{count} KiB");
        }
    }

    #[tokio::test]
    async fn only_so_many_large_bodies_are_in_memory_at_once() {
        let bodies = bodies();
        let mut held = Vec::new();
        for _ in 0..LARGE_AT_ONCE {
            let (body, _) = pieces(65);
            held.push(bodies.read(&declared(65 * 1024), body, LARGE_BYTES_MAX).await);
        }
        assert!(held.iter().all(Result::is_ok));
        // One too many is told so before it is read, whether it says its length or not; small ones go on.
        for headers in [declared(65 * 1024), HeaderMap::new()] {
            let (body, read) = pieces(65);
            let refused = bodies.read(&headers, body, LARGE_BYTES_MAX).await;
            assert_eq!(refused.expect_err("busy").status(), StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(read.available_permits(), 0);
        }
        let (body, _) = pieces(64);
        let small = bodies.read(&declared(64 * 1024), body, LARGE_BYTES_MAX).await;
        assert_eq!(small.expect("small").len(), 64 * 1024);
        // Whoever is done makes room.
        held.pop();
        let (body, _) = pieces(65);
        assert!(bodies.read(&declared(65 * 1024), body, LARGE_BYTES_MAX).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up() {
        let body = Body::from_stream(stream::pending::<Result<Bytes, std::convert::Infallible>>());
        let bodies = Bodies::new(LARGE_AT_ONCE, Duration::from_millis(20));
        let refused = bodies.read(&HeaderMap::new(), body, LARGE_BYTES_MAX).await;
        assert_eq!(refused.expect_err("too slow").status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(bodies.large.available_permits(), LARGE_AT_ONCE);
    }
}
