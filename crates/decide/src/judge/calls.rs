//! What is remembered of requests until their copies and labels have come: bounded, and the same in every replay.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use steersman_domain::RecordId;

/// So many requests are remembered; the oldest go first.
const MOST_CALLS: usize = 500_000;

/// What an arm did with a request.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// Whether the judged version answered.
    pub(super) candidate: bool,
    /// The probability with which the request was given to the candidate.
    pub(super) weight: f64,
    /// The unit of randomisation.
    pub(super) unit: u64,
    /// What was predicted.
    pub(super) output: Option<f64>,
    /// Whether the call failed.
    pub(super) failed: bool,
    /// Whether no answer came.
    pub(super) unanswered: bool,
    /// Whether it was slow; none where nobody knows what slow is.
    pub(super) slow: Option<bool>,
    /// The judged segments that it belongs to, a bit each.
    pub(super) segments: u32,
    /// The numbers whose means are judged; NaN where missing.
    pub(super) numbers: Box<[f64]>,
}

impl Answer {
    /// Whether it belongs to what evidence is about.
    pub(super) fn within(&self, segment: Option<usize>) -> bool {
        segment.is_none_or(|place| self.segments >> place & 1 == 1)
    }
}

/// What is known of one request.
#[derive(Debug, Clone, Default)]
pub(super) struct Call {
    /// The answer that the caller got.
    pub(super) served: Option<Answer>,
    /// The answer to its copy.
    pub(super) shadow: Option<Answer>,
    /// The truth.
    pub(super) label: Option<f64>,
    /// Its label should have come by now.
    due: bool,
}

/// Requests by id.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls {
    known: HashMap<u64, Call>,
    /// In order of arrival.
    order: VecDeque<u64>,
    /// Served requests whose labels are not due yet, with their times.
    waiting: VecDeque<(u64, i64)>,
    /// How many labels are due, and how many of them have come.
    pub(super) due: u64,
    pub(super) came: u64,
}

impl Calls {
    fn key(id: &RecordId) -> u64 {
        BuildHasherDefault::<DefaultHasher>::new().hash_one(id.as_str())
    }

    /// What is known of a request, made new if it is not remembered.
    pub(super) fn call(&mut self, id: &RecordId) -> &mut Call {
        let key = Self::key(id);
        if !self.known.contains_key(&key) {
            self.order.push_back(key);
            if self.order.len() > MOST_CALLS
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
        self.known.entry(key).or_default()
    }

    /// A request was answered at this time: its label will be due.
    pub(super) fn expect(&mut self, id: &RecordId, time: i64) {
        if self.waiting.len() < MOST_CALLS {
            self.waiting.push_back((Self::key(id), time));
        }
    }

    /// A label came.
    pub(super) fn arrived(&mut self, id: &RecordId) {
        if self.known.get(&Self::key(id)).is_some_and(|call| call.due) {
            self.came += 1;
        }
    }

    /// Labels of requests up to this time are due.
    pub(super) fn pass(&mut self, until: i64) {
        while let Some(&(key, time)) = self.waiting.front() {
            if time > until {
                return;
            }
            self.waiting.pop_front();
            self.due += 1;
            if let Some(call) = self.known.get_mut(&key) {
                call.due = true;
                self.came += u64::from(call.label.is_some());
            }
        }
    }
}
