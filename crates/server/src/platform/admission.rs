//! How much telemetry may be on its way at once: bytes of bodies between the first read and the acknowledgement, for the
//! process and for each model. Beyond that a sender is told at once to come again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use steersman_domain::{ErrorKind, ModelName, Problem};

/// Limits of what is taken in over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IngestLimits {
    /// The largest body, in bytes, packed and unpacked.
    pub largest_body: u64,
    /// Bytes of bodies under way in the process. What is made of them takes about as much again.
    pub in_flight: u64,
    /// Bytes of bodies under way for one model, so that one cannot crowd the others out.
    pub in_flight_per_model: u64,
}

impl Default for IngestLimits {
    fn default() -> Self {
        Self { largest_body: 64 << 20, in_flight: 512 << 20, in_flight_per_model: 256 << 20 }
    }
}

/// Keeps count of what is under way.
#[derive(Debug)]
pub struct Admission {
    limits: IngestLimits,
    total: AtomicU64,
    models: Mutex<BTreeMap<ModelName, Arc<Usage>>>,
    unnamed: Arc<Usage>,
    thrown_away: AtomicU64,
    cut_off: AtomicU64,
}

/// What one model has under way.
#[derive(Debug, Default)]
struct Usage {
    bytes: AtomicU64,
    refused: AtomicU64,
}

/// Room for one body; given back when it is dropped.
#[derive(Debug)]
pub struct Ticket {
    admission: Arc<Admission>,
    usage: Arc<Usage>,
    held: u64,
}

impl Admission {
    /// Nothing is under way.
    pub fn new(limits: IngestLimits) -> Self {
        let (total, models, unnamed) = (AtomicU64::new(0), Mutex::default(), Arc::default());
        Self { limits, total, models, unnamed, thrown_away: AtomicU64::new(0), cut_off: AtomicU64::new(0) }
    }

    /// The limits.
    pub fn limits(&self) -> IngestLimits {
        self.limits
    }

    /// Bytes under way in the process.
    pub fn in_flight(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Bytes under way for a model, and how many requests were told to come again.
    pub fn of(&self, model: &ModelName) -> (u64, u64) {
        let models = super::lock(&self.models);
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        models.get(model).map_or((0, 0), |usage| (load(&usage.bytes), load(&usage.refused)))
    }

    /// Counts what was read of a refused body and thrown away, so that its sender sees the answer.
    pub fn note_thrown_away(&self, bytes: u64, to_its_end: bool) {
        self.thrown_away.fetch_add(bytes, Ordering::Relaxed);
        self.cut_off.fetch_add(u64::from(!to_its_end), Ordering::Relaxed);
    }

    /// Bytes of refused bodies that were thrown away, and how many of those bodies were not read to their end.
    pub fn thrown_away(&self) -> (u64, u64) {
        (self.thrown_away.load(Ordering::Relaxed), self.cut_off.load(Ordering::Relaxed))
    }

    /// Lets a body of a declared model in that says it has so many bytes; room is taken as they come.
    pub fn enter(self: &Arc<Self>, model: &ModelName, announced: u64) -> Result<Ticket, Problem> {
        let usage = super::lock(&self.models).entry(model.clone()).or_default().clone();
        self.enter_as(usage, announced)
    }

    /// The same for a body of which only what is inside says which model it is of.
    pub fn enter_any(self: &Arc<Self>, announced: u64) -> Result<Ticket, Problem> {
        self.enter_as(self.unnamed.clone(), announced)
    }

    fn enter_as(self: &Arc<Self>, usage: Arc<Usage>, announced: u64) -> Result<Ticket, Problem> {
        if announced > self.limits.largest_body {
            return Err(self.too_large());
        }
        let mut ticket = Ticket { admission: self.clone(), usage, held: 0 };
        // Nothing is kept for bytes that have not come: a sender who waits would keep others out.
        ticket.take(announced)?;
        ticket.give_back();
        Ok(ticket)
    }

    fn too_large(&self) -> Problem {
        let message = format!("the body is larger than {} bytes", self.limits.largest_body);
        Problem::new(ErrorKind::TooLarge, message)
            .hint("send smaller batches; nothing of this one was taken in")
    }
}

impl Ticket {
    /// Takes room for more bytes of a body that has `so_far`.
    pub fn read(&mut self, so_far: u64, more: u64) -> Result<(), Problem> {
        if so_far + more > self.admission.limits.largest_body {
            return Err(self.admission.too_large());
        }
        self.take(more)
    }

    /// Takes room for more bytes.
    pub fn take(&mut self, bytes: u64) -> Result<(), Problem> {
        let limits = self.admission.limits;
        let total = self.admission.total.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let own = self.usage.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.held += bytes;
        if total <= limits.in_flight && own <= limits.in_flight_per_model {
            return Ok(());
        }
        self.usage.refused.fetch_add(1, Ordering::Relaxed);
        Err(Problem::new(ErrorKind::Unavailable, "more telemetry is on its way than there is room for")
            .hint("nothing of this batch was taken in; send it again later"))
    }

    fn give_back(&mut self) {
        self.admission.total.fetch_sub(self.held, Ordering::Relaxed);
        self.usage.bytes.fetch_sub(self.held, Ordering::Relaxed);
        self.held = 0;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bounded_counted_and_given_back() {
        let limits = IngestLimits { largest_body: 10, in_flight: 15, in_flight_per_model: 12 };
        let admission = Arc::new(Admission::new(limits));
        let (a, b): (ModelName, ModelName) = ("a".parse().unwrap(), "b".parse().unwrap());
        let mut first = admission.enter(&a, 8).unwrap();
        first.read(0, 8).unwrap();
        assert_eq!(first.read(8, 3).unwrap_err().kind, ErrorKind::TooLarge);
        assert_eq!(admission.enter(&a, 5).unwrap_err().kind, ErrorKind::Unavailable);
        let mut second = admission.enter(&b, 7).unwrap();
        second.read(0, 7).unwrap();
        assert_eq!(admission.enter(&b, 1).unwrap_err().kind, ErrorKind::Unavailable);
        assert_eq!((admission.of(&a), admission.of(&b), admission.in_flight()), ((8, 1), (7, 1), 15));
        drop((first, second));
        assert_eq!(admission.in_flight(), 0);
    }
}
