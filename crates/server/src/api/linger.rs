//! An answer that comes before the body was read to its end. A sender who is still writing when the connection closes
//! sees a broken pipe and never the answer, so some of what is left is read and thrown away first. What is thrown away is
//! counted, and so is where that was not all.

use crate::Platform;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

/// So many bytes of an unread body are thrown away before the answer; a sender of more meets a closed connection.
const MOST: u64 = 64 << 20;
/// For so long.
const LONGEST: Duration = Duration::from_secs(5);

/// Answers once what is left of the body is read, within limits.
pub(super) async fn linger(State(platform): State<Platform>, request: Request, next: Next) -> Response {
    // This sender waits to be told to go on, and is not.
    if request.headers().contains_key(header::EXPECT) {
        return next.run(request).await;
    }
    let (left, mut unread) = oneshot::channel();
    let request = request.map(|body| Body::new(Lent { body, left: Some(left) }));
    let response = next.run(request).await;
    if let Ok(body) = unread.try_recv() {
        let mut thrown = 0;
        let ended = tokio::time::timeout(LONGEST, throw_away(body, &mut thrown)).await;
        platform.admission().note_thrown_away(thrown, ended.unwrap_or(false));
    }
    response
}

/// Whether the body came to its end.
async fn throw_away(mut body: Body, thrown: &mut u64) -> bool {
    while let Some(Ok(frame)) = body.frame().await {
        *thrown += frame.data_ref().map_or(0, Bytes::len) as u64;
        if *thrown > MOST {
            return false;
        }
    }
    true
}

/// A body that comes back if it is let go before its end.
struct Lent {
    body: Body,
    left: Option<oneshot::Sender<Body>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let body = std::mem::take(&mut self.body);
        if let Some(left) = self.left.take().filter(|_| !body.is_end_stream()) {
            let _ = left.send(body);
        }
    }
}
