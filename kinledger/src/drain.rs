//! An answer that was decided before the whole body came: the rest is read first, and thrown away.
//!
//! A client that is still sending reads no answer. Were the connection closed on it, a person whose sign-in has run out would
//! see a broken pipe instead of a 401. The reading is bounded in bytes and time; beyond that the connection breaks after all.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream},
    extract::Request,
    http::header,
    middleware::Next,
    response::Response,
};
use futures::{StreamExt, stream};

/// What is read at most, in bytes: more than any route takes.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long is read at most.
const WITHIN: Duration = Duration::from_secs(10);

/// Answers, and leaves no body half read.
pub async fn drain(request: Request, next: Next) -> Response {
    // Who asks first whether to send has sent nothing yet, and reads the answer.
    let asks_first = request.headers().contains_key(header::EXPECT);
    let has_body = request.headers().contains_key(header::CONTENT_LENGTH)
        || request.headers().contains_key(header::TRANSFER_ENCODING);
    if asks_first || !has_body {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let rest = Arc::new(Mutex::new(body.into_data_stream()));
    let shared = Arc::clone(&rest);
    let body = Body::from_stream(stream::poll_fn(move |context| lock(&shared).poll_next_unpin(context)));
    let response = next.run(Request::from_parts(parts, body)).await;
    let thrown_away = async {
        let mut bytes = 0;
        while let Some(Ok(chunk)) = stream::poll_fn(|context| lock(&rest).poll_next_unpin(context))
            .next()
            .await
        {
            bytes += chunk.len();
            if bytes > BYTES_MAX {
                return;
            }
        }
    };
    drop(tokio::time::timeout(WITHIN, thrown_away).await);
    response
}

fn lock(body: &Mutex<BodyDataStream>) -> std::sync::MutexGuard<'_, BodyDataStream> {
    body.lock().unwrap_or_else(PoisonError::into_inner)
}
