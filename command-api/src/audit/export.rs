//! A whole ledger as a file. The body is streamed: memory does not grow with the history.
//!
//! Once the first byte is out the status cannot change, so a failure on the way breaks the connection off, and every format
//! ends with a mark that a broken file does not have.

use std::{convert::Infallible, io};

use axum::{
    body::{Body, Bytes},
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use domain::{access::route, id::FamilyId};
use event_store::{
    Lane, Log,
    export::{Chunk, ExportError, Exported, FORMATS, Format},
    replay::AsOf,
};
use futures::stream;
use serde::Deserialize;
use service_kit::{auth::SignedIn, problem::Problem};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    AuditState,
    leave::Delivering,
    query::{Bounds, parameters},
    replay_problem,
};
use crate::delivery::{Delivery, Pieces};

/// Pages on their way at most; each is up to a thousand events.
const CHUNKS_MAX: usize = 2;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportQuery {
    format: Option<String>,
    recorded_at: Option<String>,
    family_seq: Option<String>,
    effective_on: Option<String>,
}

/// The ledger in the format asked for.
pub(super) async fn export(
    State(state): State<AuditState>,
    Path(family_id): Path<String>,
    signed_in: SignedIn,
    query: Result<Query<ExportQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let row = route("export");
    let (family, lane) = state.opened(row, &family_id, signed_in).await?;
    let leave = state.leave(row, family, signed_in);
    let query = parameters(query)?;
    let format = query
        .format
        .as_deref()
        .and_then(event_store::export::format)
        .ok_or_else(|| {
            let names: Vec<&str> = FORMATS.iter().map(|format| format.name()).collect();
            Problem::malformed(format!("format is one of {}", names.join(", ")))
        })?;
    let bounds = Bounds::new(query.recorded_at, query.family_seq, query.effective_on).parse()?;
    let delivering = state.deliveries.begin(signed_in.user_id)?;
    let (delivery, pieces) = Delivery::new(state.stalled_after());
    let delivery = (delivery.while_there_is(leave), pieces);
    let task = (lane, family, format, bounds);
    let mut source = start(state.log.clone(), task, delivery, delivering);
    // What fails before the first byte still gets a proper answer.
    let first = source.first().await?;
    state.tell_exported(family, signed_in, format.name()).await?;
    let filename = format!(
        "attachment; filename=\"kinledger-{}.{}\"",
        family.uuid(),
        format.extension()
    );
    let mut response = Body::from_stream(source.stream(first)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    if let Ok(filename) = HeaderValue::from_str(&filename) {
        headers.insert(header::CONTENT_DISPOSITION, filename);
    }
    Ok(response)
}

fn start(
    log: Log,
    (lane, family, format, as_of): (Lane, FamilyId, &'static dyn Format, AsOf),
    (delivery, pieces): (Delivery, Pieces),
    delivering: Delivering,
) -> Source {
    let (written, mut pages) = mpsc::channel::<Chunk>(CHUNKS_MAX);
    let task = tokio::spawn(async move {
        let _delivering = delivering;
        let forward = async {
            while let Some(chunk) = pages.recv().await.filter(|_| !delivery.is_over()) {
                // The client is gone or asleep; dropping `pages` ends the export.
                if delivery.send(Bytes::from(chunk.text)).await.is_err() {
                    break;
                }
            }
            drop(pages);
            Ok::<(), Infallible>(())
        };
        let (exported, _) = tokio::join!(
            event_store::export::export(&log, lane, family, format, as_of, written),
            forward
        );
        exported
    });
    Source {
        pieces,
        task: Some(task),
    }
}

/// An export on its way to the client.
struct Source {
    pieces: Pieces,
    task: Option<JoinHandle<Result<Exported, ExportError>>>,
}

impl Source {
    async fn first(&mut self) -> Result<Option<Bytes>, Problem> {
        if let Some(piece) = self.pieces.next().await {
            return Ok(Some(piece));
        }
        match self.finish().await {
            Ok(()) => Ok(None),
            Err(Some(ExportError::Replay(error))) => Err(replay_problem(&error)),
            Err(Some(error)) => Err(Problem::ours(&error)),
            Err(None) => Err(Problem::unavailable(1, "the export was interrupted")),
        }
    }

    /// How it ended, asked once. The inner error is absent when the task itself was ended.
    async fn finish(&mut self) -> Result<(), Option<ExportError>> {
        match self.task.take() {
            None => Ok(()),
            Some(task) => match task.await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(Some(error)),
                Err(_) => Err(None),
            },
        }
    }

    fn stream(self, first: Option<Bytes>) -> impl futures::Stream<Item = io::Result<Bytes>> + Send {
        stream::unfold((self, first), |(mut source, first)| async move {
            if let Some(piece) = first {
                return Some((Ok(piece), (source, None)));
            }
            if let Some(piece) = source.pieces.next().await {
                return Some((Ok(piece), (source, None)));
            }
            let error = source.finish().await.err()?;
            match error {
                Some(ExportError::ReaderGone) => tracing::info!("the reader of an export went away"),
                Some(error) => tracing::error!(%error, cause = ?std::error::Error::source(&error), "export failed"),
                None => tracing::error!("export was interrupted"),
            }
            Some((
                Err(io::Error::other("the export did not come to its end")),
                (source, None),
            ))
        })
    }
}
