//! Bodies of answers on their way to the caller: as they come, never kept, noted on the way.

use crate::attempt::{Attempt, Failure};
use crate::fault::Fault;
use crate::lane::{Lane, poll_body};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::Sleep;

/// A body of an answer.
pub(crate) enum Answer {
    /// All of it, or nothing more.
    Whole(Option<Bytes>),
    /// As it comes.
    Relayed(Box<Relayed>),
    /// A gRPC message of the gateway itself, then the trailers that say that all is well.
    Message(Option<Bytes>),
    /// Those trailers.
    Trailers,
}

impl From<Bytes> for Answer {
    fn from(body: Bytes) -> Self {
        Self::Whole(Some(body).filter(|body| !body.is_empty()))
    }
}

/// An answer that is passed on as it comes.
pub(crate) struct Relayed {
    attempt: Attempt,
    first: Option<Frame<Bytes>>,
    body: Incoming,
    lane: Option<Lane>,
    silence: Option<Pin<Box<Sleep>>>,
    over: bool,
}

impl Relayed {
    pub(crate) fn new(
        attempt: Attempt,
        first: Option<Frame<Bytes>>,
        body: Incoming,
        lane: Option<Lane>,
    ) -> Self {
        Self { attempt, first, body, lane, silence: None, over: false }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let frame = match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => poll_body(&mut self.body, self.lane.as_mut(), context),
        };
        match frame {
            Poll::Ready(Some(Ok(frame))) => {
                self.silence = None;
                if let Some(data) = frame.data_ref()
                    && self.attempt.take(data) > self.attempt.max_response()
                {
                    return Poll::Ready(Some(Err(self.broken(Fault::TooLarge))));
                }
                if let Some(trailers) = frame.trailers_ref() {
                    self.attempt.trailers(trailers);
                }
                // The server is free again although the caller may still be reading.
                if self.body.is_end_stream() {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(self.broken(Fault::CutShort)))),
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let patience = self.attempt.patience();
                let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
                match silence.as_mut().poll(context) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(self.broken(Fault::IdleTimeout)))),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn end(&mut self) {
        self.over = true;
        let lane = self.lane.take();
        self.attempt.end(lane);
    }

    fn broken(&mut self, fault: Fault) -> Broken {
        self.over = true;
        self.lane = None;
        self.attempt.fail(Failure::Server(fault));
        Broken(fault)
    }
}

/// The server's fault, as an error of the body: the caller's connection ends, so that nobody takes the part for the whole.
#[derive(Debug)]
pub(crate) struct Broken(Fault);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.words())
    }
}

impl std::error::Error for Broken {}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let answer = self.get_mut();
        match answer {
            Self::Whole(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Self::Relayed(relayed) => relayed.poll(context),
            Self::Message(message) => {
                let message = message.take().unwrap_or_default();
                *answer = Self::Trailers;
                Poll::Ready(Some(Ok(Frame::data(message))))
            }
            Self::Trailers => {
                *answer = Self::Whole(None);
                let fine = (HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
                Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::from_iter([fine])))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_none(),
            Self::Relayed(relayed) => relayed.over,
            Self::Message(_) | Self::Trailers => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Message(_) | Self::Trailers => SizeHint::new(),
            Self::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, Bytes::len) as u64),
            Self::Relayed(relayed) => {
                let first = relayed.first.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
                match relayed.body.size_hint().exact() {
                    Some(rest) => SizeHint::with_exact(first + rest),
                    None => SizeHint::new(),
                }
            }
        }
    }
}
