//! Bodies: those of requests each within the limit of its path, all together within what the server spends on them, and none
//! may stall.
//!
//! Memory is taken as bytes come, not as they are announced, so that a client that announces much and sends little holds
//! little. Where the memory of all bodies is used up a request is refused, never kept waiting: it would hold what it has.
//! Large answers take their share until the client has them, so that slow readers cannot pile them up.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Error;

/// How long the next part of a body may take. Loopback needs microseconds; a client that was suspended gets a chance.
const IDLE: Duration = Duration::from_secs(10);

/// Bytes of all bodies that are held at once: 16 appends of the largest size.
const BUDGET_BYTES: usize = 128 << 20;

/// Memory of bodies is counted in pieces of this size, and a body that has begun holds at least one.
const PIECE_BYTES: usize = 16 << 10;

/// Bytes of a body that is too large that are read and thrown away, so that a client that sends before it listens gets
/// the reason. A client that sends more is cut off.
const DISCARD_BYTES_MAX: u64 = 64 << 20;

/// The memory for the bodies of all requests.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    pieces: Arc<Semaphore>,
    idle: Duration,
}

/// A body, and its share of the memory.
#[derive(Debug)]
pub(super) struct AdmittedBody {
    /// All of the body.
    pub(super) bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// The budget of a server.
    pub(super) fn new() -> Self {
        Self { pieces: Arc::new(Semaphore::new(BUDGET_BYTES / PIECE_BYTES)), idle: IDLE }
    }

    /// Reads a body of at most `limit` bytes.
    pub(super) async fn read(&self, headers: &HeaderMap, mut body: Body, limit: usize) -> Result<AdmittedBody, Error> {
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if let Some(used) = announced.filter(|&length: &u64| length > limit as u64) {
            // A client that sent `Expect: 100-continue` has sent nothing of the body yet.
            if !headers.contains_key(header::EXPECT) {
                self.discard(body, used).await;
            }
            return Err(Error::BodyTooLarge { used, limit: limit as u64 });
        }
        let mut share: Option<OwnedSemaphorePermit> = None;
        let mut gathered = BytesMut::new();
        while let Some(part) = next_part(&mut body, self.idle).await? {
            let length = gathered.len() + part.len();
            if length > limit {
                self.discard(body, length as u64).await;
                return Err(Error::BodyTooLarge { used: length as u64, limit: limit as u64 });
            }
            self.take(&mut share, length)?;
            gathered.extend_from_slice(&part);
        }
        Ok(AdmittedBody { bytes: gathered.freeze(), _share: share })
    }

    /// Reads what is left of a body, of which that much is known, and keeps nothing of it.
    async fn discard(&self, mut body: Body, mut seen: u64) {
        while seen <= DISCARD_BYTES_MAX {
            match next_part(&mut body, self.idle).await {
                Ok(Some(part)) => seen += part.len() as u64,
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// An answer that holds its share of the memory until the client has it.
    pub(super) fn answer(&self, parts: impl IntoIterator<Item = Bytes>) -> Result<Body, Error> {
        let parts: VecDeque<Bytes> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let mut share = None;
        self.take(&mut share, parts.iter().map(Bytes::len).sum())?;
        Ok(Body::new(Answer { parts, _share: share }))
    }

    /// Sees to it that a share is enough for that many bytes.
    fn take(&self, share: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> Result<(), Error> {
        let have = share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = bytes.div_ceil(PIECE_BYTES).saturating_sub(have);
        if missing == 0 {
            return Ok(());
        }
        let more = Arc::clone(&self.pieces).try_acquire_many_owned(u32::try_from(missing).unwrap_or(u32::MAX));
        let more = more.map_err(|_| {
            let left = self.pieces.available_permits() * PIECE_BYTES;
            let used = BUDGET_BYTES.saturating_sub(left) + missing * PIECE_BYTES;
            // What was taken in the meantime may just have been given back.
            Error::Busy { used: used.max(BUDGET_BYTES + 1) as u64, limit: BUDGET_BYTES as u64 }
        })?;
        match share {
            Some(share) => share.merge(more),
            None => *share = Some(more),
        }
        Ok(())
    }
}

/// Most bytes of an answer that are handed over at once: what is handed over has left the count.
const FRAME_BYTES: usize = 64 << 10;

/// An answer, and its share of the memory.
#[derive(Debug)]
struct Answer {
    parts: VecDeque<Bytes>,
    _share: Option<OwnedSemaphorePermit>,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(mut part) = self.parts.pop_front() else { return Poll::Ready(None) };
        if part.len() > FRAME_BYTES {
            let rest = part.split_off(FRAME_BYTES);
            self.parts.push_front(rest);
        }
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.parts.iter().map(|part| part.len() as u64).sum())
    }
}

async fn next_part(body: &mut Body, idle: Duration) -> Result<Option<Bytes>, Error> {
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
        let frame = tokio::time::timeout(idle, frame)
            .await
            .map_err(|_| Error::BodyTimeout { milliseconds: idle.as_millis() as u64 })?
            .transpose()
            .map_err(|error| Error::BodyIncomplete { reason: error.to_string() })?;
        match frame.map(Frame::into_data) {
            None => return Ok(None),
            Some(Ok(data)) => return Ok(Some(data)),
            // Trailers mean nothing here.
            Some(Err(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_over_its_limit_is_refused_announced_or_not() {
        let budget = Budget::new();
        let mut headers = HeaderMap::new();
        let held = budget.read(&headers, Body::from("12345"), 5).await.expect("5 bytes fit");
        assert_eq!(held.bytes, "12345");
        let error = budget.read(&headers, Body::from("123456"), 5).await.expect_err("6 bytes do not");
        assert!(matches!(error, Error::BodyTooLarge { used: 6, limit: 5 }));
        headers.insert(header::CONTENT_LENGTH, 7.into());
        let error = budget.read(&headers, Body::empty(), 5).await.expect_err("7 are announced");
        assert!(matches!(error, Error::BodyTooLarge { used: 7, limit: 5 }));
    }

    #[tokio::test]
    async fn a_body_that_stops_coming_is_given_up() {
        /// A body that never has a next part.
        struct Stalled;
        impl HttpBody for Stalled {
            type Data = Bytes;
            type Error = Infallible;
            fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
                Poll::Pending
            }
        }
        let budget = Budget { idle: Duration::from_millis(1), ..Budget::new() };
        let read = budget.read(&HeaderMap::new(), Body::new(Stalled), 5).await;
        assert!(matches!(read, Err(Error::BodyTimeout { milliseconds: 1 })));
    }

    #[tokio::test]
    async fn bodies_beyond_the_memory_of_all_are_refused_until_others_are_done() {
        let budget = Budget::new();
        let all =
            Arc::clone(&budget.pieces).acquire_many_owned((BUDGET_BYTES / PIECE_BYTES) as u32).await.expect("all");
        let read = budget.read(&HeaderMap::new(), Body::from("1"), 5).await;
        assert!(matches!(read, Err(Error::Busy { used, limit }) if used > limit));
        drop(all);
        budget.read(&HeaderMap::new(), Body::from("1"), 5).await.expect("there is room again");
    }

    #[tokio::test]
    async fn an_answer_holds_its_memory_until_it_is_taken() {
        let budget = Budget::new();
        let parts = [Bytes::from(vec![1; 3 * FRAME_BYTES + 1]), Bytes::new(), Bytes::from_static(b"end")];
        let body = budget.answer(parts).expect("there is room");
        assert!(budget.pieces.available_permits() < BUDGET_BYTES / PIECE_BYTES);
        let taken = axum::body::to_bytes(body, usize::MAX).await.expect("taken");
        assert_eq!((taken.len(), &taken[taken.len() - 3..]), (3 * FRAME_BYTES + 4, &b"end"[..]));
        assert_eq!(budget.pieces.available_permits(), BUDGET_BYTES / PIECE_BYTES);
    }
}
