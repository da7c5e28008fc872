//! Connections to model servers, used again and again by one thread.
//!
//! An HTTP/1 connection is driven by whoever uses it, in the same task as the caller's connection: no task is woken on
//! another thread between a request and its answer. While it rests nobody drives it, so whether the server has closed it
//! is looked at when it is taken. An HTTP/2 connection is shared by many requests and has a task of its own.

use crate::fault::Fault;
use crate::outgoing::Outgoing;
use crate::tls::ClientTls;
use crate::upstream::Origin;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::rt::Executor;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A connection that has rested for so long is closed.
const REST: Duration = Duration::from_secs(30);
/// So many rest for each server and thread.
const MOST_RESTING: usize = 256;

/// Bytes in both directions.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

type Io = TokioIo<Box<dyn Duplex>>;
/// Sends over an HTTP/2 connection that others share.
pub(crate) type Shared2 = http2::SendRequest<Outgoing>;

/// Starts tasks on this thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ThisThread;

impl<F> Executor<F> for ThisThread
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, task: F) {
        // It ends with its connection.
        drop(tokio::task::spawn_local(task));
    }
}

/// An HTTP/1 connection.
pub(crate) struct Lane {
    sender: http1::SendRequest<Outgoing>,
    /// None once it has ended.
    connection: Option<Pin<Box<http1::Connection<Io, Outgoing>>>>,
    rests_since: Instant,
    /// Whether it has brought an answer already.
    pub(crate) used: bool,
}

impl Lane {
    pub(crate) async fn open(origin: &Origin, tls: &ClientTls, patience: Duration) -> Result<Self, Fault> {
        let io = dial(origin, tls, false, patience).await?;
        let made = http1::Builder::new().max_headers(200).handshake(TokioIo::new(io)).await;
        let (sender, connection) = made.map_err(|_| Fault::Malformed)?;
        let connection = Some(Box::pin(connection));
        Ok(Self { sender, connection, rests_since: Instant::now(), used: false })
    }

    /// Lets the connection get on.
    pub(crate) fn drive(&mut self, context: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && connection.as_mut().poll(context).is_ready()
        {
            self.connection = None;
        }
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn ask(
        &mut self,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Outgoing>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        poll_fn(|context| {
            if let Some(connection) = &mut self.connection
                && connection.as_mut().poll(context).is_ready()
            {
                self.connection = None;
            }
            answer.as_mut().poll(context)
        })
        .await
    }

    /// Whether another request can be sent over it.
    pub(crate) fn usable(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && self.sender.is_ready()
    }
}

/// The connections of one thread.
#[derive(Default)]
pub(crate) struct Pool {
    resting: RefCell<HashMap<Arc<str>, Vec<Lane>>>,
    shared: RefCell<HashMap<Arc<str>, Shared2>>,
}

impl Pool {
    /// A connection that rests and is still good.
    pub(crate) fn take(&self, origin: &Origin) -> Option<Lane> {
        let mut resting = self.resting.borrow_mut();
        let lanes = resting.get_mut(&origin.key)?;
        while let Some(mut lane) = lanes.pop() {
            if lane.usable() {
                return Some(lane);
            }
        }
        None
    }

    /// Lets a connection rest, if it is still good.
    pub(crate) fn give_back(&self, origin: &Origin, mut lane: Lane) {
        if !lane.usable() {
            return;
        }
        (lane.rests_since, lane.used) = (Instant::now(), true);
        let mut resting = self.resting.borrow_mut();
        match resting.get_mut(&origin.key) {
            Some(lanes) if lanes.len() < MOST_RESTING => lanes.push(lane),
            Some(_) => {}
            None => drop(resting.insert(origin.key.clone(), vec![lane])),
        }
    }

    /// The shared connection to a server.
    pub(crate) async fn shared(
        &self,
        origin: &Origin,
        tls: &ClientTls,
        patience: Duration,
    ) -> Result<Shared2, Fault> {
        let known = self.shared.borrow().get(&origin.key).filter(|sender| !sender.is_closed()).cloned();
        if let Some(sender) = known {
            return Ok(sender);
        }
        let io = dial(origin, tls, true, patience).await?;
        let made = http2::Builder::new(ThisThread)
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10))
            .handshake(TokioIo::new(io));
        let (sender, connection) = made.await.map_err(|_| Fault::Malformed)?;
        drop(tokio::task::spawn_local(connection));
        self.shared.borrow_mut().insert(origin.key.clone(), sender.clone());
        Ok(sender)
    }

    /// Closes what has rested for too long or has ended.
    pub(crate) fn tidy(&self) {
        let now = Instant::now();
        let mut resting = self.resting.borrow_mut();
        for lanes in resting.values_mut() {
            lanes.retain_mut(|lane| now.duration_since(lane.rests_since) < REST && lane.usable());
        }
        resting.retain(|_, lanes| !lanes.is_empty());
        self.shared.borrow_mut().retain(|_, sender| !sender.is_closed());
    }
}

/// A connection to a server, with TLS where its address says so.
async fn dial(
    origin: &Origin,
    tls: &ClientTls,
    http2: bool,
    patience: Duration,
) -> Result<Box<dyn Duplex>, Fault> {
    let work = async {
        let stream = TcpStream::connect((origin.host.as_str(), origin.port)).await;
        let stream = stream.map_err(|_| Fault::Unreachable)?;
        let _ = stream.set_nodelay(true);
        let Some(name) = &origin.tls else { return Ok(Box::new(stream) as Box<dyn Duplex>) };
        let config = if http2 { &tls.http2 } else { &tls.http1 };
        let connector = tokio_rustls::TlsConnector::from(config.clone());
        let stream = connector.connect(name.clone(), stream).await.map_err(|_| Fault::Tls)?;
        Ok(Box::new(stream) as Box<dyn Duplex>)
    };
    tokio::time::timeout(patience, work).await.unwrap_or(Err(Fault::ConnectTimeout))
}

/// What an error of a connection says about the server.
pub(crate) fn fault_of(error: &hyper::Error) -> Fault {
    match error.is_parse() || error.is_parse_status() {
        true => Fault::Malformed,
        false => Fault::ClosedEarly,
    }
}

/// Whether a body of an answer has more to come right now; with an HTTP/1 connection, which is driven meanwhile.
pub(crate) fn poll_body(
    body: &mut Incoming,
    lane: Option<&mut Lane>,
    context: &mut Context<'_>,
) -> Poll<Option<Result<hyper::body::Frame<bytes::Bytes>, hyper::Error>>> {
    use hyper::body::Body as _;
    let first = Pin::new(&mut *body).poll_frame(context);
    match lane {
        Some(lane) if first.is_pending() => {
            lane.drive(context);
            Pin::new(body).poll_frame(context)
        }
        _ => first,
    }
}
