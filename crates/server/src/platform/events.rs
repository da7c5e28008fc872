//! Calls that others saw: KServe's inference logger and Knative send the request and the answer as two CloudEvents, in
//! either order, with one id.
//!
//! The sender opens a connection per event, never tries again and grows while it waits (kserve/kserve#6167), so an event
//! is answered at once after it was put in memory, under a bound; what is beyond it is shed and counted. Halves wait for
//! each other for a limited time. An answer that failed is never sent, so a request that stays alone is no record: nobody
//! knows what became of it; it is counted.

use super::ingest::CALL_BATCH;
use super::{Platform, lock};
use bytes::Bytes;
use jiff::Timestamp;
use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use steersman_domain::time::micros;
use steersman_domain::{ErrorKind, ModelName, Period, Problem};
use steersman_records::calls::{Call, Event, EventKind};
use tokio::sync::mpsc;

/// How long a half waits for the other.
const PATIENCE: Period = Period::from_seconds(60);
/// How many halves wait, and how many bytes they hold.
const HALVES: usize = 100_000;
const HALVES_BYTES: usize = 64 << 20;
/// How many pairs may wait to be written.
const QUEUE: usize = 10_000;

/// What became of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventCounts {
    /// Halves that wait.
    pub waiting: u64,
    /// Bytes that they hold.
    pub waiting_bytes: u64,
    /// Calls whose halves met.
    pub paired: u64,
    /// Halves that waited for too long.
    pub unpaired: u64,
    /// Halves of a kind that was there already; nothing changed.
    pub repeated: u64,
    /// Events and pairs that there was no room for.
    pub shed: u64,
}

pub(super) type Pair = (ModelName, Call);

/// Events of all models.
#[derive(Debug)]
pub(super) struct Events {
    waiting: Mutex<Waiting>,
    pairs: mpsc::Sender<Pair>,
    paired: AtomicU64,
    unpaired: AtomicU64,
    repeated: AtomicU64,
    shed: AtomicU64,
}

type Key = (ModelName, String);

#[derive(Debug, Default)]
struct Waiting {
    halves: HashMap<Key, Half>,
    /// In order of arrival; a half that has met its other is not in `halves` any more, or under a later number.
    order: VecDeque<(Key, u64)>,
    bytes: usize,
    next: u64,
}

#[derive(Debug)]
struct Half {
    number: u64,
    kind: EventKind,
    time: Option<Timestamp>,
    received_at: Timestamp,
    body: Bytes,
}

impl Events {
    /// Nothing waits; pairs come out of the queue.
    pub(super) fn new() -> (Self, mpsc::Receiver<Pair>) {
        let (pairs, queue) = mpsc::channel(QUEUE);
        let count = || AtomicU64::new(0);
        let (paired, unpaired, repeated, shed) = (count(), count(), count(), count());
        (Self { waiting: Mutex::default(), pairs, paired, unpaired, repeated, shed }, queue)
    }

    /// Takes one half in.
    fn add(&self, event: Event, now: Timestamp) -> Result<(), Problem> {
        self.expire(now);
        let Some((key, first, second)) = self.meet(event, now)? else { return Ok(()) };
        let (request, response) = match first.kind {
            EventKind::Request => (first, second),
            EventKind::Response => (second, first),
        };
        let time = request.time.unwrap_or(request.received_at);
        let latency = request.time.zip(response.time).map(|(from, to)| micros(to) - micros(from));
        let call = Call {
            id: key.1,
            time,
            request: request.body,
            response: Some(response.body),
            version: None,
            arm: None,
            weight: None,
            unit: None,
            latency_ms: latency.filter(|latency| *latency >= 0).map(|latency| latency as f64 / 1_000.0),
            status: 200,
        };
        match self.pairs.try_send((key.0, call)) {
            Ok(()) => {
                self.paired.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(_) => Err(self.full()),
        }
    }

    /// Both halves of a call, if this is the second.
    fn meet(&self, event: Event, now: Timestamp) -> Result<Option<(Key, Half, Half)>, Problem> {
        let mut waiting = lock(&self.waiting);
        let key = (event.model, event.id);
        let number = waiting.next;
        let half = Half { number, kind: event.kind, time: event.time, received_at: now, body: event.body };
        match waiting.halves.get(&key).map(|known| known.kind == half.kind) {
            Some(true) => {
                self.repeated.fetch_add(1, Ordering::Relaxed);
                return Ok(None);
            }
            Some(false) => {
                let Some(other) = waiting.halves.remove(&key) else { return Ok(None) };
                waiting.bytes -= other.body.len();
                return Ok(Some((key, other, half)));
            }
            None => {}
        }
        if waiting.halves.len() >= HALVES || waiting.bytes + half.body.len() > HALVES_BYTES {
            return Err(self.full());
        }
        waiting.next += 1;
        waiting.bytes += half.body.len();
        waiting.order.push_back((key.clone(), number));
        waiting.halves.insert(key, half);
        if waiting.order.len() > 2 * waiting.halves.len() + 1_024 {
            let Waiting { halves, order, .. } = &mut *waiting;
            order.retain(|(key, number)| halves.get(key).is_some_and(|half| half.number == *number));
        }
        Ok(None)
    }

    fn full(&self) -> Problem {
        self.shed.fetch_add(1, Ordering::Relaxed);
        Problem::new(ErrorKind::Unavailable, "more events wait than there is room for")
            .hint("the event is counted as shed")
    }

    /// Lets go of halves that have waited for too long.
    pub(super) fn expire(&self, now: Timestamp) {
        let mut waiting = lock(&self.waiting);
        let before = PATIENCE.before(now);
        while let Some((key, number)) = waiting.order.front() {
            let half = waiting.halves.get(key).filter(|half| half.number == *number);
            match half.map(|half| (half.received_at, half.body.len())) {
                Some((received_at, _)) if received_at >= before => return,
                Some((_, bytes)) => {
                    let key = key.clone();
                    waiting.halves.remove(&key);
                    waiting.bytes -= bytes;
                    self.unpaired.fetch_add(1, Ordering::Relaxed);
                }
                None => {}
            }
            waiting.order.pop_front();
        }
    }

    fn counts(&self) -> EventCounts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let waiting = lock(&self.waiting);
        EventCounts {
            waiting: waiting.halves.len() as u64,
            waiting_bytes: waiting.bytes as u64,
            paired: load(&self.paired),
            unpaired: load(&self.unpaired),
            repeated: load(&self.repeated),
            shed: load(&self.shed),
        }
    }
}

impl Platform {
    /// Takes one half of a call in. It is in memory when this returns, not on disk.
    pub fn take_event(&self, event: Event) -> Result<(), Problem> {
        self.schema(&event.model)?;
        self.inner.events.add(event, self.now())
    }

    /// What became of events.
    pub fn event_counts(&self) -> EventCounts {
        self.inner.events.counts()
    }

    /// Starts writing calls whose halves have met. Ends with the platform.
    pub(super) fn start_events(&self, mut queue: mpsc::Receiver<Pair>) {
        let platform = self.clone();
        let mut stop = self.inner.stopping.subscribe();
        let task = tokio::spawn(async move {
            let mut batch = Vec::with_capacity(CALL_BATCH);
            loop {
                let stopped = async { drop(stop.wait_for(|stop| *stop).await) };
                let count = tokio::select! {
                    count = queue.recv_many(&mut batch, CALL_BATCH) => count,
                    () = stopped => 0,
                };
                // What has met is written before the end.
                if count == 0 {
                    queue.close();
                    if queue.recv_many(&mut batch, CALL_BATCH).await == 0 {
                        return;
                    }
                }
                let calls = batch.drain(..).map(|(model, call)| (model, Ok(call))).collect();
                platform.write_calls(calls, platform.now()).await;
            }
        });
        lock(&self.inner.tasks).push(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use steersman_domain::time::from_micros;

    fn event(id: &str, kind: EventKind, second: i64) -> Event {
        let time = Some(from_micros(second * 1_000_000));
        Event { model: "m".parse().unwrap(), id: id.to_owned(), kind, time, body: Bytes::from_static(b"{}") }
    }

    #[test]
    fn halves_meet_in_either_order_and_do_not_wait_for_ever() {
        let (events, mut pairs) = Events::new();
        let at = |second: i64| from_micros(second * 1_000_000);
        events.add(event("a", EventKind::Request, 1), at(1)).unwrap();
        events.add(event("a", EventKind::Request, 1), at(1)).unwrap();
        events.add(event("b", EventKind::Response, 5), at(2)).unwrap();
        events.add(event("a", EventKind::Response, 3), at(3)).unwrap();
        events.add(event("b", EventKind::Request, 4), at(4)).unwrap();
        let met: Vec<_> = std::iter::from_fn(|| pairs.try_recv().ok()).collect();
        let told: Vec<_> = met.iter().map(|(_, call)| (call.id.as_str(), call.latency_ms)).collect();
        assert_eq!(told, [("a", Some(2_000.0)), ("b", Some(1_000.0))]);
        events.add(event("c", EventKind::Request, 5), at(5)).unwrap();
        events.add(event("c", EventKind::Response, 70), at(70)).unwrap();
        let counts = events.counts();
        assert_eq!((counts.paired, counts.unpaired, counts.repeated, counts.waiting), (2, 1, 1, 1));
    }
}
