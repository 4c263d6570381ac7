//! A connection behind the screen, as the client library reads it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{AsyncRead, AsyncWrite};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use super::screen::{Passing, Screen};

/// Bytes that are read at once.
const PIECE: usize = 64 << 10;

/// What is read passes the screen; what is written goes as it is.
pub(super) struct Screened<S> {
    inner: Compat<S>,
    screen: Screen,
    piece: Box<[u8]>,
    /// What has passed and was not read yet, from `at` on.
    passed: Vec<u8>,
    at: usize,
}

impl<S: tokio::io::AsyncRead> Screened<S> {
    pub fn new(stream: S, passing: Passing) -> Self {
        let piece = vec![0; PIECE].into_boxed_slice();
        let passed = Vec::with_capacity(PIECE);
        Self { inner: stream.compat(), screen: Screen::new(passing), piece, passed, at: 0 }
    }
}

impl<S: tokio::io::AsyncRead + Unpin> AsyncRead for Screened<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        wanted: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        while this.at == this.passed.len() {
            this.passed.clear();
            this.at = 0;
            let count = ready!(Pin::new(&mut this.inner).poll_read(context, &mut this.piece))?;
            if count == 0 {
                return Poll::Ready(Ok(0));
            }
            this.screen.pass(&this.piece[..count], &mut this.passed)?;
        }
        let left = &this.passed[this.at..];
        let count = left.len().min(wanted.len());
        wanted[..count].copy_from_slice(&left[..count]);
        this.at += count;
        Poll::Ready(Ok(count))
    }
}

impl<S: tokio::io::AsyncWrite + Unpin> AsyncWrite for Screened<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_close(context)
    }
}
