//! Bodies on their way through: requests within a limit, answers counted for the access log.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Poller, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tower::BoxError;

use super::access::Line;

/// A request's body that ends with an error where it is longer than it may be.
pub(super) struct Limited {
    /// Never contended: the lock makes it one that may be shared, as the client wants it.
    inner: Mutex<Body>,
    left: usize,
    over: Arc<AtomicBool>,
}

impl Limited {
    /// Also gives the flag that is set once the body was too long.
    pub fn new(inner: Body, most: usize) -> (Self, Arc<AtomicBool>) {
        let over = Arc::new(AtomicBool::new(false));
        (Self { inner: Mutex::new(inner), left: most, over: Arc::clone(&over) }, over)
    }

    fn of<T>(&self, read: impl FnOnce(&Body) -> T) -> T {
        read(&self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        poller: &mut Poller<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let inner = this.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        let frame = match ready!(Pin::new(inner).poll_frame(poller)) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other.map(|frame| frame.map_err(Into::into))),
        };
        let size = frame.data_ref().map_or(0, Bytes::len);
        if size > this.left {
            this.over.store(true, Ordering::SeqCst);
            return Poll::Ready(Some(Err("the body is too long".into())));
        }
        this.left -= size;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.of(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.of(Body::size_hint)
    }
}

/// An answer's body that writes the access log's line once it is through, or once nobody wants it any more.
pub(super) struct Logged {
    pub inner: Body,
    pub line: Option<Line>,
    /// Its length, where that is known before: then nobody asks for its end.
    pub length: Option<u64>,
    pub sent: u64,
}

impl http_body::Body for Logged {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        poller: &mut Poller<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(poller));
        match &frame {
            Some(Ok(frame)) => self.sent += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(_)) => {}
            None => {
                if let Some(line) = self.line.take() {
                    line.write(self.sent, true);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            let whole = self.length.is_some_and(|length| self.sent >= length) || self.inner.is_end_stream();
            line.write(self.sent, whole);
        }
    }
}
