//! One request to one model server: asked once, counted once, recorded once, whatever becomes of it.

use crate::answer::{Answer, Relayed};
use crate::breaker::Outcome;
use crate::call::{Call, CallBody};
use crate::capture::{Capture, Payload, Taken};
use crate::fault::{ClientFault, Fault};
use crate::gateway::Worker;
use crate::headers::{SERVED_BY, strip_hops};
use crate::lane::{Lane, fault_of, poll_body};
use crate::outgoing::Progress;
use crate::protocol::{Protocol, grpc};
use crate::slot::{Slot, count};
use crate::upstream::{Origin, Seat, Upstream};
use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap};
use hyper::{Response, StatusCode};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};
use steersman_domain::record::Arm;

/// After so many connections that had ended before anything was sent, a new one is made.
const MOST_UNSENT: u32 = 3;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The server's fault.
    Server(Fault),
    /// The caller's.
    Client(ClientFault),
}

/// A request under way to a server. Whoever lets go of it before its end shows that the caller went away.
pub(crate) struct Attempt {
    worker: Rc<Worker>,
    slot: Arc<Slot>,
    upstream: Arc<Upstream>,
    call: Rc<Call>,
    arm: Arm,
    weight: f64,
    began: Instant,
    first_byte: Option<Duration>,
    status: u16,
    response: Taken,
    described: Payload,
    seat: Option<Seat>,
    open: bool,
}

/// A head, a body, and the connection that it comes by.
type Reply = (Response<Incoming>, Option<Lane>);

/// Asks a server. What came of it is recorded.
pub(crate) async fn ask(
    worker: &Rc<Worker>,
    slot: &Arc<Slot>,
    arm: Arm,
    weight: f64,
    call: &Rc<Call>,
) -> Result<Response<Answer>, Failure> {
    let upstream = match (arm, &slot.candidate) {
        (Arm::Candidate | Arm::Shadow, Some(candidate)) => candidate.clone(),
        _ => slot.champion.clone(),
    };
    let mut attempt = Attempt {
        worker: worker.clone(),
        slot: slot.clone(),
        upstream,
        call: call.clone(),
        arm,
        weight,
        began: Instant::now(),
        first_byte: None,
        status: 0,
        response: Taken::new(worker.shared.config.capture_limit, call.protocol == Protocol::OpenAi),
        described: Payload::default(),
        seat: None,
        open: true,
    };
    match attempt.exchange().await {
        Ok((response, lane)) => attempt.relay(response, lane).await,
        Err(failure) => Err(attempt.fail(failure)),
    }
}

impl Attempt {
    /// Sends the request, again where that is safe: to the same server, so that chance is not asked twice.
    async fn exchange(&mut self) -> Result<Reply, Failure> {
        let (worker, call, upstream) = (self.worker.clone(), self.call.clone(), self.upstream.clone());
        let config = &worker.shared.config;
        let seat = upstream.seat(config.max_in_flight, self.arm != Arm::Champion);
        self.seat = Some(seat.map_err(Failure::Server)?);
        let origin = if call.http2 { upstream.grpc.as_ref() } else { upstream.http.as_ref() };
        let origin = origin.ok_or(Failure::Server(Fault::BadAddress))?;
        let tls = &worker.shared.tls;
        // A connection that has to be made comes first: while it is not, the body is not touched.
        let mut lane = self.connect(origin, tls, true).await?;
        let copy = self.arm == Arm::Shadow;
        let mut request = call.request(origin, copy).ok_or(Failure::Server(Fault::BadAddress))?;
        let (mut again, mut unsent) = (false, 0);
        loop {
            let reused = lane.as_ref().is_none_or(|lane| lane.used);
            let sent = async {
                match &mut lane {
                    Some(lane) => lane.ask(request).await,
                    None => {
                        let mut sender = worker.pool.shared(origin, tls, config.connect).await;
                        match &mut sender {
                            Ok(sender) => sender.try_send_request(request).await,
                            // It was there a moment ago.
                            Err(_) => return Err(None),
                        }
                    }
                }
                .map_err(Some)
            };
            let error = match within(config.first_byte, call.progress(), sent).await {
                None => return Err(Failure::Server(Fault::FirstByteTimeout)),
                Some(Ok(response)) => return Ok((response, lane)),
                Some(Err(error)) => error,
            };
            if let Some(fault) = call.progress().and_then(|progress| progress.fault.get()) {
                return Err(Failure::Client(fault));
            }
            let Some(mut error) = error else { return Err(Failure::Server(Fault::ClosedEarly)) };
            let fault = fault_of(error.error());
            // A connection that rested had ended: nothing was sent.
            let kept = error.take_message().filter(|_| reused && unsent < MOST_UNSENT);
            request = match kept {
                Some(request) => {
                    unsent += 1;
                    request
                }
                None if reused && !again && call.repeatable && fault == Fault::ClosedEarly => {
                    again = true;
                    count(&self.slot.counts.retries);
                    call.request(origin, copy).ok_or(Failure::Server(fault))?
                }
                None => return Err(Failure::Server(fault)),
            };
            lane = self.connect(origin, tls, !again && unsent < MOST_UNSENT).await?;
        }
    }

    /// A connection for the request; none where many requests share one.
    async fn connect(
        &self,
        origin: &Origin,
        tls: &crate::tls::ClientTls,
        rested: bool,
    ) -> Result<Option<Lane>, Failure> {
        let patience = self.worker.shared.config.connect;
        if self.call.http2 {
            let made = self.worker.pool.shared(origin, tls, patience).await;
            return made.map(|_| None).map_err(Failure::Server);
        }
        if let Some(lane) = self.worker.pool.take(origin).filter(|_| rested) {
            return Ok(Some(lane));
        }
        Lane::open(origin, tls, patience).await.map(Some).map_err(Failure::Server)
    }

    /// Passes an answer on. What is here of it already is passed on at once; one that breaks off before any of it was
    /// passed on becomes a problem of its own.
    async fn relay(
        mut self,
        response: Response<Incoming>,
        mut lane: Option<Lane>,
    ) -> Result<Response<Answer>, Failure> {
        self.first_byte = Some(self.began.elapsed());
        let (mut head, mut body) = response.into_parts();
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(self.fail(Failure::Server(Fault::Malformed)));
        }
        if body.size_hint().lower() > self.worker.shared.config.max_response {
            return Err(self.fail(Failure::Server(Fault::TooLarge)));
        }
        if head.headers.contains_key(header::TRANSFER_ENCODING) {
            head.headers.remove(header::CONTENT_LENGTH);
        }
        strip_hops(&mut head.headers);
        head.headers.insert(SERVED_BY, self.upstream.version.clone());
        self.status = head.status.as_u16();
        self.described.describe(&head.headers);
        self.trailers(&head.headers);
        head.version = hyper::Version::HTTP_11;
        head.extensions = hyper::http::Extensions::new();
        let first = match body.is_end_stream() {
            true => Poll::Ready(None),
            false => poll_fn(|context| Poll::Ready(poll_body(&mut body, lane.as_mut(), context))).await,
        };
        let answer = match first {
            Poll::Ready(Some(Err(_))) => return Err(self.fail(Failure::Server(Fault::CutShort))),
            Poll::Ready(None) => {
                self.end(lane);
                Answer::Whole(None)
            }
            Poll::Ready(Some(Ok(frame))) if body.is_end_stream() && frame.is_data() => {
                let data = frame.into_data().unwrap_or_default();
                self.take(&data);
                self.end(lane);
                Answer::Whole(Some(data))
            }
            Poll::Ready(Some(Ok(frame))) => {
                Answer::Relayed(Box::new(Relayed::new(self, Some(frame), body, lane)))
            }
            Poll::Pending => Answer::Relayed(Box::new(Relayed::new(self, None, body, lane))),
        };
        Ok(Response::from_parts(head, answer))
    }

    /// Notes a piece of the answer; says how much there was so far.
    pub(crate) fn take(&mut self, data: &Bytes) -> u64 {
        self.response.take(data);
        self.response.length()
    }

    /// Notes what gRPC says at the end.
    pub(crate) fn trailers(&mut self, trailers: &HeaderMap) {
        if self.call.protocol == Protocol::Grpc
            && let Some(status) = grpc::http_status(trailers)
        {
            self.status = status;
        }
    }

    pub(crate) fn max_response(&self) -> u64 {
        self.worker.shared.config.max_response
    }

    pub(crate) fn patience(&self) -> Duration {
        self.worker.shared.config.idle
    }

    /// The answer is whole.
    pub(crate) fn end(&mut self, lane: Option<Lane>) {
        if let (Some(lane), Some(origin)) = (lane, &self.upstream.http) {
            self.worker.pool.give_back(origin, lane);
        }
        let outcome = match self.status {
            502..=504 => Outcome::Unwell,
            _ => Outcome::Good,
        };
        self.conclude(Some(outcome), None);
    }

    /// There is no whole answer.
    pub(crate) fn fail(&mut self, failure: Failure) -> Failure {
        match failure {
            Failure::Server(fault) => {
                self.status = 0;
                self.upstream.faults.count(fault);
                self.conclude((!fault.own_decision()).then_some(Outcome::Broken), Some(fault));
            }
            Failure::Client(fault) => {
                self.worker.shared.client_faults.count_client(fault);
                self.gone();
            }
        }
        failure
    }

    /// The caller did not wait for the answer: neither good nor bad of the server.
    fn gone(&mut self) {
        if self.arm != Arm::Shadow {
            count(&self.slot.counts.aborted);
        }
        self.status = 499;
        self.conclude(None, None);
    }

    fn conclude(&mut self, outcome: Option<Outcome>, fault: Option<Fault>) {
        self.open = false;
        if let (Some(outcome), Some(mut seat)) = (outcome, self.seat.take()) {
            seat.conclude(outcome);
        }
        self.seat = None;
        if self.call.recorded {
            self.record(fault);
        }
    }

    fn record(&mut self, fault: Option<Fault>) {
        let (shared, limit) = (&self.worker.shared, self.worker.shared.config.capture_limit);
        let shed = |slot: &Slot| slot.counts.shed_captures.fetch_add(1, Ordering::Relaxed);
        let length = match &self.call.body {
            CallBody::Whole(body) => body.len(),
            CallBody::Flowing { .. } => limit,
        };
        let bytes = length.min(limit) + self.response.held() + 512;
        let room = shared.waiting.room(bytes as u64, shared.config.capture_memory);
        let sender = shared.captures.load();
        let (Some(room), Some(sender)) = (room, sender.as_ref()) else {
            shed(&self.slot);
            return;
        };
        let described = std::mem::take(&mut self.described);
        let response = Payload {
            json_length: described.json_length,
            packing: described.packing,
            ..self.response.finish()
        };
        let capture = Capture {
            model: self.call.model.clone(),
            protocol: self.call.protocol,
            arm: self.arm,
            version: self.upstream.target.version,
            weight: self.weight,
            unit: self.call.unit,
            request_id: self.call.id.clone(),
            began: self.began,
            first_byte: self.first_byte,
            latency: self.began.elapsed(),
            status: self.status,
            fault,
            request: self.call.payload(limit),
            response,
            room,
        };
        match sender.try_send(capture) {
            Ok(()) => drop(shared.captured.fetch_add(1, Ordering::SeqCst)),
            Err(_) => drop(shed(&self.slot)),
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.open {
            self.worker.shared.client_faults.count_client(ClientFault::Aborted);
            self.gone();
        }
    }
}

/// Waits for the head of an answer: `patience` from when the request was sent, or its last piece.
async fn within<T>(
    patience: Duration,
    progress: Option<&Progress>,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    let mut left = patience;
    loop {
        if let Ok(done) = tokio::time::timeout(left, work.as_mut()).await {
            return Some(done);
        }
        let moved = progress.map(|progress| progress.moved.get().elapsed());
        left = patience.checked_sub(moved?).filter(|left| !left.is_zero())?;
    }
}
