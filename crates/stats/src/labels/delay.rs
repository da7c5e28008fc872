//! What is counted of records and their labels.

use crate::error::{StatsError, paired};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::Range;

/// Counts of records and of arrived labels by the time of the record, the delay of the label and its outcome: a
/// development triangle, as insurers keep of late claims.
///
/// Time is cut into cells of equal length. A *cohort* is the records of one cell and one stratum (a predicted class, a
/// segment). Labels have one of two outcomes; for numbers, take on which side of a cut they are; for many classes, keep
/// a model for each class against the rest. A delay counts as the number of cells that it fills or begins, so a label
/// in delay cell `k` has arrived by the age of `k` cells.
///
/// Zero, update, merge, serialise: counts add, so the order does not matter, and two halves of a stream give the same
/// as the whole. "Now" is an argument of every question, and cohorts count once their cell is over. Asked about a past
/// moment, the model answers what it would have answered then.
///
/// ```
/// use steersman_stats::labels::DelayModel;
/// let mut model = DelayModel::new(3_600).unwrap();
/// model.add_records("all", &[0, 600, 7_200]);
/// model.add_labels("all", &[600], &[5_000], &[true]).unwrap(); // after 4,400 s: by the age of 2 h
/// assert_eq!(model.counts(None, 0..7_200, 7_800), (2, 1)); // two records, one label
/// assert_eq!(model.counts(None, 0..7_200, 4_000), (2, 0)); // as it was then
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DelayModel {
    pub(super) cell: NonZeroU32,
    strata: BTreeMap<String, BTreeMap<i64, Cohort>>,
}

/// The records of one cell of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Cohort {
    /// Time of the latest record.
    last: i64,
    records: u64,
    /// Labels of outcomes 0 and 1 by delay in cells.
    arrivals: BTreeMap<u32, [u64; 2]>,
}

impl Cohort {
    /// The cohort of the cell that holds `time`.
    fn at(cohorts: &mut BTreeMap<i64, Self>, time: i64, cell: i64) -> &mut Self {
        let empty = || Self { last: time, records: 0, arrivals: BTreeMap::new() };
        cohorts.entry(time.div_euclid(cell)).or_insert_with(empty)
    }
}

/// A cohort as it is seen at some moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    cohort: &'a Cohort,
    /// Number of its cell.
    pub(super) index: i64,
    /// Age in full cells of its latest record: delays up to here are known for all of its records.
    pub(super) age: u32,
}

impl DelayModel {
    /// Nothing counted yet; times are cut into cells of so many seconds. A fiftieth of the usual delay is a good length:
    /// ages count in full cells only.
    pub fn new(cell: i64) -> Result<Self, StatsError> {
        let cell = u32::try_from(cell).ok().and_then(NonZeroU32::new);
        let cell =
            cell.ok_or(StatsError::Domain("a cell of time lasts at least one second, at most 136 years"))?;
        Ok(Self { cell, strata: BTreeMap::new() })
    }

    /// Length of a cell in seconds.
    pub fn cell(&self) -> i64 {
        i64::from(self.cell.get())
    }

    /// The strata that there are records of.
    pub fn strata(&self) -> impl Iterator<Item = &str> {
        self.strata.keys().map(String::as_str)
    }

    /// Counts records by their times, each record once.
    pub fn add_records(&mut self, stratum: &str, times: &[i64]) {
        let cell = self.cell();
        let cohorts = self.cohorts(stratum);
        for &time in times {
            let cohort = Cohort::at(cohorts, time, cell);
            cohort.last = cohort.last.max(time);
            cohort.records += 1;
        }
    }

    /// Counts labels: times of their records, times of arrival and outcomes, each label once. A label that was there
    /// before its record has a delay of 0.
    pub fn add_labels(
        &mut self,
        stratum: &str,
        recorded: &[i64],
        arrived: &[i64],
        outcomes: &[bool],
    ) -> Result<(), StatsError> {
        paired(recorded.len(), arrived.len(), 0)?;
        paired(recorded.len(), outcomes.len(), 0)?;
        let cell = self.cell();
        let cohorts = self.cohorts(stratum);
        for ((&time, &arrival), &outcome) in recorded.iter().zip(arrived).zip(outcomes) {
            let delay = arrival.saturating_sub(time).max(0);
            let cells = delay / cell + i64::from(delay % cell != 0);
            let cells = u32::try_from(cells).unwrap_or(u32::MAX);
            let [negative, positive] = Cohort::at(cohorts, time, cell).arrivals.entry(cells).or_default();
            *(if outcome { positive } else { negative }) += 1;
        }
        Ok(())
    }

    fn cohorts(&mut self, stratum: &str) -> &mut BTreeMap<i64, Cohort> {
        self.strata.entry(stratum.to_owned()).or_default()
    }

    /// Adds what another model has counted.
    pub fn merge(&mut self, other: &Self) -> Result<(), StatsError> {
        if self.cell != other.cell {
            return Err(StatsError::Incompatible("two delay models with different cells"));
        }
        for (stratum, cohorts) in &other.strata {
            let own = self.strata.entry(stratum.clone()).or_default();
            for (&index, added) in cohorts {
                let fresh = || Cohort { last: added.last, records: 0, arrivals: BTreeMap::new() };
                let cohort = own.entry(index).or_insert_with(fresh);
                cohort.last = cohort.last.max(added.last);
                cohort.records += added.records;
                for (&cell, counts) in &added.arrivals {
                    let sums = cohort.arrivals.entry(cell).or_default();
                    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
                }
            }
        }
        Ok(())
    }

    /// Forgets cohorts that begin before `time`.
    pub fn forget_before(&mut self, time: i64) {
        let first = self.first_cell(time);
        for cohorts in self.strata.values_mut() {
            *cohorts = cohorts.split_off(&first);
        }
        self.strata.retain(|_, cohorts| !cohorts.is_empty());
    }

    /// Records of the window `[start, end)` and how many of them have a label by `now`. A window holds the cohorts that
    /// begin in it. Without a stratum, all count.
    pub fn counts(&self, stratum: Option<&str>, window: Range<i64>, now: i64) -> (u64, u64) {
        let within = self.cells(&window);
        let cohorts = self.seen(stratum, now).filter(|cohort| within.contains(&cohort.index));
        cohorts.fold((0, 0), |(records, labels), cohort| {
            (records + cohort.records(), labels + cohort.records() - cohort.waiting())
        })
    }

    /// Labels of outcomes 0 and 1 of the window that are there by `now`.
    pub(super) fn outcomes(&self, window: &Range<i64>, now: i64) -> [u64; 2] {
        let within = self.cells(window);
        let cohorts = self.seen(None, now).filter(|cohort| within.contains(&cohort.index));
        cohorts.fold([0, 0], |sums, cohort| {
            let [negative, positive] = cohort.outcomes();
            [sums[0] + negative, sums[1] + positive]
        })
    }

    /// Cohorts that begin in `[start, end)`, by number of their cell.
    pub(super) fn cells(&self, window: &Range<i64>) -> Range<i64> {
        self.first_cell(window.start)..self.first_cell(window.end)
    }

    fn first_cell(&self, time: i64) -> i64 {
        time.div_euclid(self.cell()) + i64::from(time.rem_euclid(self.cell()) != 0)
    }

    /// The cohorts whose cell was over at `now`, of one stratum or of all.
    pub(super) fn seen(&self, stratum: Option<&str>, now: i64) -> impl Iterator<Item = Seen<'_>> {
        let wanted = move |name: &String| stratum.is_none_or(|wanted| wanted == name);
        let strata = self.strata.iter().filter(move |(name, _)| wanted(name));
        let (cell, running) = (self.cell(), now.div_euclid(self.cell()));
        strata.flat_map(move |(_, cohorts)| cohorts.range(..running)).map(move |(&index, cohort)| {
            let age = u32::try_from(now.saturating_sub(cohort.last) / cell).unwrap_or(u32::MAX);
            Seen { cohort, index, age }
        })
    }
}

impl<'a> Seen<'a> {
    /// Labels that are there, by delay in cells.
    pub(super) fn arrivals(&self) -> impl Iterator<Item = (u32, [u64; 2])> + use<'a> {
        self.cohort.arrivals.range(..=self.age).map(|(&cell, &counts)| (cell, counts))
    }

    /// Labels that are there, of outcomes 0 and 1.
    pub(super) fn outcomes(&self) -> [u64; 2] {
        self.arrivals().fold([0, 0], |[a, b], (_, [negative, positive])| [a + negative, b + positive])
    }

    /// Records: at least as many as labels, even where only labels were counted.
    pub(super) fn records(&self) -> u64 {
        let [negative, positive] = self.outcomes();
        self.cohort.records.max(negative + positive)
    }

    /// Records whose label is not there.
    pub(super) fn waiting(&self) -> u64 {
        let [negative, positive] = self.outcomes();
        self.records() - negative - positive
    }
}
