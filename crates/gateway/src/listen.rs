//! Callers' connections: threads that accept them, each with a loop of its own, so that nothing else in the process holds
//! a request up; HTTP/1, HTTP/2 and TLS; slow callers; the end.

use crate::fault::ClientFault;
use crate::gateway::{Shared, Worker};
use crate::lane::{Pool, ThisThread};
use crate::way;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::convert::Infallible;
use std::error::Error as _;
use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use steersman_domain::{ErrorKind, Problem};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::Sleep;

/// How an HTTP/2 connection without TLS begins.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How often resting connections are looked at.
const TIDY: Duration = Duration::from_secs(5);

/// Listens at an address.
pub(crate) fn bind(address: SocketAddr) -> Result<std::net::TcpListener, Problem> {
    let listen = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|error: io::Error| {
        let kind = match error.kind() {
            io::ErrorKind::AddrInUse => ErrorKind::Conflict,
            _ => ErrorKind::Internal,
        };
        Problem::new(kind, format!("the gateway cannot listen on {address}: {error}"))
            .hint("choose another address with `--gateway ADDR:PORT`")
    })
}

/// Starts the threads. The number that comes back is how many have stopped.
pub(crate) fn serve(
    listener: std::net::TcpListener,
    shared: &Arc<Shared>,
    stopping: &watch::Receiver<bool>,
) -> Result<watch::Receiver<usize>, Problem> {
    let (finished, stopped) = watch::channel(0);
    let broken = |error: io::Error| Problem::internal(format!("the gateway cannot start: {error}"));
    for number in 0..shared.config.threads.max(1) {
        let listener = listener.try_clone().map_err(broken)?;
        let (shared, stopping, finished) = (shared.clone(), stopping.clone(), finished.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(broken)?;
        let work = move || {
            let worker = Rc::new(Worker { shared, pool: Pool::default() });
            LocalSet::new().block_on(&runtime, accept(listener, worker, stopping));
            finished.send_modify(|count| *count += 1);
        };
        std::thread::Builder::new().name(format!("gateway-{number}")).spawn(work).map_err(broken)?;
    }
    Ok(stopped)
}

async fn accept(listener: std::net::TcpListener, worker: Rc<Worker>, mut stopping: watch::Receiver<bool>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a thread of the gateway cannot listen"),
    };
    let graceful = GracefulShutdown::new();
    let tidying = worker.clone();
    let tidy = tokio::task::spawn_local(async move {
        loop {
            tokio::time::sleep(TIDY).await;
            tidying.pool.tidy();
        }
    });
    loop {
        let stopped = async { drop(stopping.wait_for(|stop| *stop).await) };
        let accepted = async {
            let (stream, _) = listener.accept().await?;
            // In a full house the next one waits, and all others in the kernel's queue.
            Ok::<_, io::Error>((stream, worker.shared.connections.clone().acquire_owned().await))
        };
        let (stream, seat) = tokio::select! {
            accepted = accepted => match accepted {
                Ok((stream, Ok(seat))) => (stream, seat),
                Ok((_, Err(_))) => break,
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    // Out of file handles: give others time to end.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = stopped => break,
        };
        let _ = stream.set_nodelay(true);
        let (worker, watcher, stopping) = (worker.clone(), graceful.watcher(), stopping.clone());
        tokio::task::spawn_local(async move {
            if let Err(fault) = connection(&worker, stream, watcher, stopping).await {
                worker.shared.client_faults.count_client(fault);
            }
            drop(seat);
        });
    }
    drop(listener);
    graceful.shutdown().await;
    tidy.abort();
}

/// Serves one connection to its end. One that has not begun when the gateway stops is not waited for.
async fn connection(
    worker: &Rc<Worker>,
    stream: TcpStream,
    watcher: Watcher,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), ClientFault> {
    let config = &worker.shared.config;
    let stopped = async { drop(stopping.wait_for(|stop| *stop).await) };
    let Some(tls) = &config.tls else {
        let begun = tokio::select! {
            begun = tokio::time::timeout(config.head, speaks_http2(&stream)) => begun,
            () = stopped => return Ok(()),
        };
        return match begun.map_err(|_| ClientFault::TooSlow)? {
            None => Ok(()),
            Some(http2) => speak(worker, stream, http2, watcher).await,
        };
    };
    let acceptor = tokio_rustls::TlsAcceptor::from(tls.0.clone());
    let stream = tokio::select! {
        stream = tokio::time::timeout(config.head, acceptor.accept(stream)) => stream,
        () = stopped => return Ok(()),
    };
    let stream = stream.map_err(|_| ClientFault::TooSlow)?.map_err(|_| ClientFault::Tls)?;
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    speak(worker, stream, http2, watcher).await
}

/// Whether a connection begins as HTTP/2 does; none where it ended before.
async fn speaks_http2(stream: &TcpStream) -> Option<bool> {
    let mut beginning = [0; PREFACE.len()];
    loop {
        let read = stream.peek(&mut beginning).await.ok()?;
        let (here, wanted) = (beginning.get(..read)?, PREFACE.get(..read)?);
        if read == 0 {
            return None;
        }
        if here != wanted {
            return Some(false);
        }
        if read == PREFACE.len() {
            return Some(true);
        }
        // What is here is shown again at once: wait for more.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn speak(
    worker: &Rc<Worker>,
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    http2: bool,
    watcher: Watcher,
) -> Result<(), ClientFault> {
    let config = &worker.shared.config;
    let own = worker.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let worker = own.clone();
        async move { Ok::<_, Infallible>(way::handle(worker, request).await) }
    });
    let io = TokioIo::new(Patient { stream, patience: config.body, stalled: None });
    let ended = match http2 {
        true => {
            let connection = http2::Builder::new(ThisThread)
                .timer(TokioTimer::new())
                .keep_alive_interval(config.head)
                .keep_alive_timeout(config.head)
                .max_header_list_size(u32::try_from(config.max_head).unwrap_or(u32::MAX))
                .serve_connection(io, service);
            watcher.watch(connection).await
        }
        false => {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(config.head)
                .max_header_size(config.max_head)
                .max_headers(200)
                .serve_connection(io, service);
            watcher.watch(connection).await
        }
    };
    ended.or_else(|error| fault_of(&error).map_or(Ok(()), Err))
}

/// What a caller did, by how its connection ended; none where it is counted elsewhere: a caller who goes away in the
/// middle of an answer, a server that breaks off.
fn fault_of(error: &hyper::Error) -> Option<ClientFault> {
    let stalled = |error: &hyper::Error| {
        let inner = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        inner.is_some_and(|inner| inner.kind() == io::ErrorKind::TimedOut)
    };
    if error.is_parse_too_large() {
        Some(ClientFault::HeadTooLarge)
    } else if error.is_parse() {
        Some(ClientFault::Malformed)
    } else if error.is_timeout() {
        // One that only rested asked for nothing.
        Some(ClientFault::TooSlow)
    } else if stalled(error) {
        Some(ClientFault::Stalled)
    } else {
        None
    }
}

/// A stream whose reader is given up when it reads nothing for too long.
struct Patient<S> {
    stream: S,
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    fn note<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.note(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.note(shut, context)
    }
}
