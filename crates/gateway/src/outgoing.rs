//! Bodies of requests on their way to a model server: whole where they are small, else passed on as they come.

use crate::capture::Taken;
use crate::fault::ClientFault;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::cell::{Cell, RefCell};
use std::future::Future as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// A body that is here as far as it was read.
pub(crate) enum Intake {
    /// All of it.
    Whole(Bytes),
    /// The beginning, and the rest as it comes.
    Flowing(Bytes, Incoming),
}

impl Intake {
    /// What is here of it.
    pub(crate) fn beginning(&self) -> &Bytes {
        match self {
            Self::Whole(body) | Self::Flowing(body, _) => body,
        }
    }
}

/// Limits of a body that is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// Up to so many bytes are kept whole.
    pub(crate) keep: usize,
    /// More are refused.
    pub(crate) most: u64,
    /// A caller who is silent for so long is given up.
    pub(crate) patience: Duration,
    /// Whether the first message of a gRPC stream is enough.
    pub(crate) first_message: bool,
}

/// Reads a body as far as it is kept.
pub(crate) async fn take_in(mut body: Incoming, reading: Reading) -> Result<Intake, ClientFault> {
    let hint = body.size_hint();
    if hint.lower() > reading.most {
        return Err(ClientFault::BodyTooLarge);
    }
    if body.is_end_stream() {
        return Ok(Intake::Whole(Bytes::new()));
    }
    if hint.lower() > reading.keep as u64 && !reading.first_message {
        return Ok(Intake::Flowing(Bytes::new(), body));
    }
    let (mut only, mut joined) = (Bytes::new(), BytesMut::new());
    loop {
        let frame = tokio::time::timeout(reading.patience, body.frame()).await;
        let frame = frame.map_err(|_| ClientFault::TooSlow)?;
        let data = match frame {
            None => return Ok(Intake::Whole(joined_with(only, joined))),
            Some(Err(_)) => return Err(ClientFault::Aborted),
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        let before = only.len() + joined.len();
        if (before + data.len()) as u64 > reading.most {
            return Err(ClientFault::BodyTooLarge);
        }
        match before {
            0 => only = data,
            _ => {
                joined.extend_from_slice(&std::mem::take(&mut only));
                joined.extend_from_slice(&data);
            }
        }
        let here: &[u8] = if joined.is_empty() { &only } else { &joined };
        if body.is_end_stream() {
            return Ok(Intake::Whole(joined_with(only, joined)));
        }
        let first_is_here = reading.first_message && crate::protocol::grpc::first_message(here).is_some();
        if here.len() > reading.keep || first_is_here {
            return Ok(Intake::Flowing(joined_with(only, joined), body));
        }
    }
}

fn joined_with(only: Bytes, joined: BytesMut) -> Bytes {
    if joined.is_empty() { only } else { joined.freeze() }
}

/// A body on its way.
pub(crate) enum Outgoing {
    /// All of it, or nothing more.
    Whole(Option<Bytes>),
    /// As it comes.
    Upload(Box<Upload>),
}

/// What is known of an upload, also while the connection has it.
#[derive(Debug)]
pub(crate) struct Progress {
    /// When something last came.
    pub(crate) moved: Cell<Instant>,
    /// Whether all of it has gone.
    pub(crate) done: Cell<bool>,
    /// What the caller did wrong.
    pub(crate) fault: Cell<Option<ClientFault>>,
    pub(crate) taken: RefCell<Taken>,
}

/// A body that is passed on as it comes.
pub(crate) struct Upload {
    beginning: Bytes,
    rest: Incoming,
    progress: Rc<Progress>,
    patience: Duration,
    left: u64,
    silence: Option<Pin<Box<Sleep>>>,
}

impl Upload {
    pub(crate) fn new(beginning: Bytes, rest: Incoming, progress: Rc<Progress>, reading: Reading) -> Self {
        let left = reading.most;
        Self { beginning, rest, progress, patience: reading.patience, left, silence: None }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ClientFault>>> {
        if !self.beginning.is_empty() {
            let data = std::mem::take(&mut self.beginning);
            return self.pass(Frame::data(data));
        }
        match Pin::new(&mut self.rest).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => self.pass(frame),
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(ClientFault::Aborted))),
            Poll::Ready(None) => {
                self.progress.done.set(true);
                Poll::Ready(None)
            }
            Poll::Pending => {
                let patience = self.patience;
                let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
                silence.as_mut().poll(context).map(|()| Some(Err(ClientFault::TooSlow)))
            }
        }
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Poll<Option<Result<Frame<Bytes>, ClientFault>>> {
        self.silence = None;
        self.progress.moved.set(Instant::now());
        if let Some(data) = frame.data_ref() {
            let Some(left) = self.left.checked_sub(data.len() as u64) else {
                return Poll::Ready(Some(Err(ClientFault::BodyTooLarge)));
            };
            self.left = left;
            self.progress.taken.borrow_mut().take(data);
        }
        if self.beginning.is_empty() && self.rest.is_end_stream() {
            self.progress.done.set(true);
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

/// The caller's fault, as an error of the body.
#[derive(Debug)]
pub(crate) struct Interrupted(ClientFault);

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl std::error::Error for Interrupted {}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Interrupted;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Interrupted>>> {
        match self.get_mut() {
            Self::Whole(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Self::Upload(upload) => upload.poll(context).map_err(|fault| {
                upload.progress.fault.set(Some(fault));
                Interrupted(fault)
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.as_ref().is_none_or(Bytes::is_empty),
            Self::Upload(upload) => upload.beginning.is_empty() && upload.rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, Bytes::len) as u64),
            Self::Upload(upload) => {
                let (here, rest) = (upload.beginning.len() as u64, upload.rest.size_hint());
                let mut hint = SizeHint::new();
                if let Some(upper) = rest.upper() {
                    hint.set_upper(upper + here);
                }
                hint.set_lower(rest.lower() + here);
                hint
            }
        }
    }
}
