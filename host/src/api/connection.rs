//! Connections: as many as the server can afford, none that holds one without using it.
//!
//! A client that sends its request slowly, or does not take its answer, is cut off; one more than there may be waits in
//! the system's queue. When the server stops, requests that are being answered are finished.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::Sleep;

/// Most connections at once. A connection costs some 20 KiB idle.
const CONNECTIONS_MAX: usize = 1024;

/// How long a request's head may take, and how long a connection may idle between requests: clients that keep
/// connections drop them after 15 s.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of a connection's buffer, and so of a request's head. Larger gains nothing on bodies.
const BUFFER_BYTES: usize = 64 << 10;

/// How long a client may take nothing of an answer.
const WRITE_STALL: Duration = Duration::from_secs(20);

/// How long to wait when the system has no more descriptors: others must close theirs first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long requests that are being answered may take when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Answers requests until told to stop, then finishes those that are being answered.
pub(super) async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let connection = async {
            let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            biased;
            () = super::stopped(&mut stop) => break,
            accepted = connection => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (router, stop) = (router.clone(), stop.clone());
                tokio::spawn(async move {
                    answer(stream, router, stop).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(STOP_GRACE, slots.acquire_many(CONNECTIONS_MAX as u32)).await.is_err() {
        tracing::warn!("requests were cut off: they took more than {} s to finish", STOP_GRACE.as_secs());
    }
}

async fn answer(stream: TcpStream, router: Router, mut stop: watch::Receiver<bool>) {
    // Answers are written whole: waiting to fill a packet only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "set no delay");
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(Taken::new(stream, WRITE_STALL)), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = super::stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// A stream whose writes fail when nothing of them is taken for too long.
#[derive(Debug)]
struct Taken<S> {
    stream: S,
    patience: Duration,
    /// Set while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Taken<S> {
    const fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, stalled: None }
    }

    /// What a write gives, unless it has waited for too long.
    fn watch<T>(&mut self, context: &mut Context<'_>, write: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if write.is_ready() {
            self.stalled = None;
            return write;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        stalled.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taken<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taken<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.watch(context, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(context, flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_client_that_takes_nothing_of_its_answer_is_cut_off() {
        let (server, mut client) = tokio::io::duplex(8);
        let mut server = Taken::new(server, Duration::from_millis(1));
        server.write_all(b"12345678").await.expect("there is room");
        let error = server.write_all(b"9").await.expect_err("nothing is taken");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);

        let mut taken = [0; 8];
        client.read_exact(&mut taken).await.expect("taken late");
        server.write_all(b"9").await.expect("there is room again");
    }
}
