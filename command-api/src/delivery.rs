//! What is on its way to a client, piece by piece: a bounded channel that the body of an answer reads from.
//!
//! What is on its way holds one of few places ([`crate::audit::Deliveries`]). So a client that takes nothing for a while is gone,
//! whether it closed its connection or not; it is small pieces that it has to take, so that a slow one is not taken for it.
//!
//! That a delivery is whole is said beside the channel: one that breaks off may well do so while the channel is full.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::body::Bytes;
use futures::{Stream, stream};
use tokio::{runtime::Handle, sync::mpsc, time::timeout};

use crate::audit::Leave;

/// Bytes of a piece.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces on their way at most.
const PIECES_MAX: usize = 4;

/// The sending side.
#[derive(Clone)]
pub(crate) struct Delivery {
    to: mpsc::Sender<Bytes>,
    is_whole: Arc<AtomicBool>,
    leave: Option<Arc<Leave>>,
    stalled_after: Duration,
}

/// The receiving side.
pub(crate) struct Pieces {
    from: mpsc::Receiver<Bytes>,
    is_whole: Arc<AtomicBool>,
}

/// The client is gone, takes nothing any more, or may have no more.
#[derive(Debug)]
pub(crate) struct Gone;

impl Delivery {
    /// Both sides.
    pub(crate) fn new(stalled_after: Duration) -> (Self, Pieces) {
        let (to, from) = mpsc::channel(PIECES_MAX);
        let is_whole = Arc::<AtomicBool>::default();
        let pieces = Pieces {
            from,
            is_whole: Arc::clone(&is_whole),
        };
        let delivery = Self {
            to,
            is_whole,
            leave: None,
            stalled_after,
        };
        (delivery, pieces)
    }

    /// The same, as long as there is leave for it.
    pub(crate) fn while_there_is(self, leave: Leave) -> Self {
        Self {
            leave: Some(Arc::new(leave)),
            ..self
        }
    }

    /// Sends it in pieces, each as soon as there is room for it.
    pub(crate) async fn send(&self, mut bytes: Bytes) -> Result<(), Gone> {
        while !bytes.is_empty() {
            if let Some(leave) = &self.leave
                && !leave.is_there().await
            {
                return Err(Gone);
            }
            let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
            let sent = timeout(self.stalled_after, self.to.send(piece)).await;
            if !matches!(sent, Ok(Ok(()))) {
                return Err(Gone);
            }
        }
        Ok(())
    }

    /// Did the client go away?
    pub(crate) fn is_over(&self) -> bool {
        self.to.is_closed()
    }

    /// All has been sent. Without this the body breaks off after the last piece.
    pub(crate) fn complete(self) {
        self.is_whole.store(true, Ordering::Release);
    }

    /// To be written to where blocking is allowed.
    pub(crate) fn writer(self) -> Writer {
        Writer {
            delivery: self,
            held: Vec::with_capacity(PIECE_BYTES),
            runtime: Handle::current(),
        }
    }
}

impl Pieces {
    /// The next piece; none when there will be no more.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        self.from.recv().await
    }

    /// A body that ends in an error unless the delivery is complete.
    pub(crate) fn body(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        stream::unfold(Some(self), |pieces| async move {
            let mut pieces = pieces?;
            match pieces.next().await {
                Some(piece) => Some((Ok(piece), Some(pieces))),
                None if pieces.is_whole.load(Ordering::Acquire) => None,
                None => Some((Err(io::Error::other("it did not come to its end")), None)),
            }
        })
    }
}

/// Writes into a delivery.
pub(crate) struct Writer {
    delivery: Delivery,
    held: Vec<u8>,
    runtime: Handle,
}

impl Writer {
    /// Sends what is left.
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.flush()
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        if self.held.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let held = Bytes::from(std::mem::take(&mut self.held));
        let sent = self.runtime.block_on(self.delivery.send(held));
        sent.map_err(|Gone| io::Error::new(io::ErrorKind::BrokenPipe, "the reader went away"))
    }
}
