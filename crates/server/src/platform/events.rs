//! Calls that others saw: KServe's inference logger and Knative send the request and the answer as two CloudEvents, in
//! either order, with one id.
//!
//! Halves wait for each other in memory, under a bound and for a limited time: the sender opens a connection per event and
//! grows while it waits (kserve/kserve#6167), so the first half is answered at once, as accepted. The second is answered
//! when the record of both is on disk; calls that meet at the same time share one write. What is beyond the bound is shed
//! and counted. An answer that failed is never sent, so a request that stays alone is no record: nobody knows what became
//! of it; it is counted.

use super::ingest::CALL_BATCH;
use super::{Platform, lock};
use bytes::Bytes;
use jiff::Timestamp;
use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use steersman_domain::time::micros;
use steersman_domain::{ErrorKind, ModelName, Period, Problem};
use steersman_records::calls::{Call, Content, Event, EventKind};
use tokio::sync::{mpsc, oneshot};

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

/// What became of an event that was taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is in memory until its other half comes.
    Waits,
    /// Its other half was there, and the record of both is on disk.
    Recorded,
}

/// A call whose halves have met, and who is to be told what became of it.
#[derive(Debug)]
pub(super) struct Pair {
    model: ModelName,
    call: Call,
    written: oneshot::Sender<Result<(), Problem>>,
}

/// A call that is being written.
#[derive(Debug)]
struct Met {
    key: Key,
    /// The half that was there before.
    first: Half,
    written: oneshot::Receiver<Result<(), Problem>>,
}

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

#[derive(Debug, Clone)]
struct Half {
    number: u64,
    kind: EventKind,
    time: Option<Timestamp>,
    received_at: Timestamp,
    body: Bytes,
}

impl Waiting {
    fn has_room(&self, bytes: usize) -> bool {
        self.halves.len() < HALVES && self.bytes + bytes <= HALVES_BYTES
    }

    fn insert(&mut self, key: Key, half: Half) {
        let number = self.next;
        self.next += 1;
        self.bytes += half.body.len();
        self.order.push_back((key.clone(), number));
        self.halves.insert(key, Half { number, ..half });
        if self.order.len() > 2 * self.halves.len() + 1_024 {
            let Self { halves, order, .. } = self;
            order.retain(|(key, number)| halves.get(key).is_some_and(|half| half.number == *number));
        }
    }
}

impl Events {
    /// Nothing waits; pairs come out of the queue.
    pub(super) fn new() -> (Self, mpsc::Receiver<Pair>) {
        let (pairs, queue) = mpsc::channel(QUEUE);
        let count = || AtomicU64::new(0);
        let (paired, unpaired, repeated, shed) = (count(), count(), count(), count());
        (Self { waiting: Mutex::default(), pairs, paired, unpaired, repeated, shed }, queue)
    }

    /// Takes one half in. If the other one is there, their call is on its way to the disk.
    fn add(&self, event: Event, now: Timestamp) -> Result<Option<Met>, Problem> {
        self.expire(now);
        // Room is taken before two halves meet: where there is none, the first goes on waiting.
        let room = self.pairs.try_reserve().map_err(|_| self.full())?;
        let Some((key, first, second)) = self.meet(event, now)? else { return Ok(None) };
        let waited = first.clone();
        let (request, response) = match first.kind {
            EventKind::Request => (first, second),
            EventKind::Response => (second, first),
        };
        let time = request.time.unwrap_or(request.received_at);
        let latency = request.time.zip(response.time).map(|(from, to)| micros(to) - micros(from));
        let call = Call {
            id: key.1.clone(),
            time,
            content: Content::Json { request: request.body, response: Some(response.body) },
            version: None,
            arm: None,
            weight: None,
            unit: None,
            latency_ms: latency.filter(|latency| *latency >= 0).map(|latency| latency as f64 / 1_000.0),
            status: 200,
        };
        let (told, written) = oneshot::channel();
        room.send(Pair { model: key.0.clone(), call, written: told });
        self.paired.fetch_add(1, Ordering::Relaxed);
        Ok(Some(Met { key, first: waited, written }))
    }

    /// Has the first half of a call that could not be written wait again: the second may be sent again.
    fn wait_again(&self, key: Key, first: Half) {
        let mut waiting = lock(&self.waiting);
        if waiting.has_room(first.body.len()) && !waiting.halves.contains_key(&key) {
            waiting.insert(key, first);
        }
    }

    /// Both halves of a call, if this is the second.
    fn meet(&self, event: Event, now: Timestamp) -> Result<Option<(Key, Half, Half)>, Problem> {
        let mut waiting = lock(&self.waiting);
        let key = (event.model, event.id);
        let half = Half { number: 0, kind: event.kind, time: event.time, received_at: now, body: event.body };
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
        if !waiting.has_room(half.body.len()) {
            return Err(self.full());
        }
        waiting.insert(key, half);
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
    /// Takes halves of calls in, each by itself; says in their order what became of them.
    pub async fn take_events(&self, events: Vec<Event>) -> Vec<Result<Taken, Problem>> {
        let now = self.now();
        let add = |event: Event| {
            self.schema(&event.model)?;
            self.inner.events.add(event, now)
        };
        // All are under way before one is waited for: they are written together.
        let added: Vec<Result<Option<Met>, Problem>> = events.into_iter().map(add).collect();
        let mut taken = Vec::with_capacity(added.len());
        for added in added {
            taken.push(match added {
                Ok(Some(met)) => self.written(met).await,
                Ok(None) => Ok(Taken::Waits),
                Err(problem) => Err(problem),
            });
        }
        taken
    }

    async fn written(&self, Met { key, first, written }: Met) -> Result<Taken, Problem> {
        let stopping = || Problem::new(ErrorKind::Unavailable, "Steersman is being stopped");
        let written = written.await.unwrap_or_else(|_| Err(stopping()));
        if let Err(problem) = &written
            && matches!(problem.kind, ErrorKind::Unavailable | ErrorKind::NoSpace)
        {
            self.inner.events.wait_again(key, first);
        }
        written.map(|()| Taken::Recorded)
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
                let pairs = batch.drain(..).map(|Pair { model, call, written }| ((model, Ok(call)), written));
                let (calls, waiting): (Vec<_>, Vec<_>) = pairs.unzip();
                let written = platform.write_calls(calls, platform.now()).await;
                for (told, written) in waiting.into_iter().zip(written) {
                    // Who sent it may be gone.
                    let _ = told.send(written);
                }
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
        let told: Vec<_> = met.iter().map(|pair| (pair.call.id.as_str(), pair.call.latency_ms)).collect();
        assert_eq!(told, [("a", Some(2_000.0)), ("b", Some(1_000.0))]);
        // A call that could not be written is there again once its second half is sent again.
        let met = events.add(event("d", EventKind::Request, 4), at(4)).unwrap();
        assert!(met.is_none());
        let met = events.add(event("d", EventKind::Response, 4), at(4)).unwrap().unwrap();
        events.wait_again(met.key, met.first);
        assert!(events.add(event("d", EventKind::Response, 4), at(5)).unwrap().is_some());
        events.add(event("c", EventKind::Request, 5), at(5)).unwrap();
        events.add(event("c", EventKind::Response, 70), at(70)).unwrap();
        let counts = events.counts();
        assert_eq!((counts.paired, counts.unpaired, counts.repeated, counts.waiting), (4, 1, 1, 1));
    }
}
