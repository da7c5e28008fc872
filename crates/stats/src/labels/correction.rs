//! The share of an outcome in a young window, and the weights of its labelled rows, when the delay of a label depends on
//! what it says.

use super::DelayModel;
use super::curve::FINAL;
use super::mixture::{Fit, Triangle};
use crate::error::StatsError;
use crate::interval::{Interval, Z_95, student_quantile, wilson};
use crate::random::Random;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::Range;

/// Resamples behind an interval.
const RESAMPLES: usize = 200;
/// Earlier windows that a correction is tried on, at most.
const MOST_TRIALS: usize = 12;
/// Labels of each outcome that the delays must be learnt from.
const FEWEST_LABELS: u64 = 20;

/// What a window will turn out to be, as far as can be told before its labels are all there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Correction {
    /// Share of outcome 1 among all records of the window.
    pub share: Interval,
    /// Share of outcome 1 among the labels that are there: biased if the delay depends on the outcome. None without labels.
    pub so_far: Option<Interval>,
    /// Records of the window.
    pub records: u64,
    /// Labels that are there.
    pub arrived: u64,
    /// Share of records whose label is expected later than any label was ever seen; the interval allows them either
    /// outcome.
    pub unseen: f64,
    /// The same correction made at the same age of earlier windows, latest first.
    pub trials: Vec<Trial>,
    cell: NonZeroU32,
    /// By stratum: delays in seconds, and the probabilities of outcomes 0 and 1 to have arrived by then.
    delays: BTreeMap<String, ClassDelays>,
}

/// A correction of a window whose truth is known by now.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Begin of the window.
    pub start: i64,
    /// Share of outcome 1 among the labels that were there.
    pub so_far: f64,
    /// The share that the correction gave then.
    pub corrected: f64,
    /// The share of outcome 1 as it turned out.
    pub truth: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ClassDelays {
    ages: Vec<i64>,
    arrived: [Vec<f64>; 2],
}

/// A stratum with records in the window.
struct Fitted<'a> {
    name: &'a str,
    triangle: Triangle,
    fit: Fit,
}

impl DelayModel {
    /// Corrects the share of outcome 1 in the window `[start, end)` as seen at `now` for labels of both outcomes that
    /// arrive late, each in its own time.
    ///
    /// Delayed feedback (Chapelle, *Modeling delayed feedback in display advertising*, KDD 2014) with both outcomes
    /// delayed and delays of any form: time is cut into blocks as long as the window, each with its own share of
    /// outcome 1, and with one law of delays for each outcome and stratum; all are fitted together by expectation and
    /// maximisation, records still waiting included. So the mix of outcomes may change at will, and so may delays, if
    /// slowly: a block counts half for every `half_life` seconds between it and the window (twice the window is a good
    /// choice). Strata are fitted by themselves and put together by their records.
    ///
    /// The interval is the wider of two. One resamples all counts 200 times from `seed` (Poisson). The other
    /// looks back: the same correction, made when earlier windows were as young, was off by so much (root mean square of
    /// the log odds, Student's quantile); it knows of delays that change with the season or come in groups. Where no
    /// earlier window can be looked at, `trials` is empty and the interval is the first one alone: then wait, and look at
    /// [`latest_final`](DelayModel::latest_final).
    ///
    /// ```
    /// use steersman_stats::labels::DelayModel;
    /// let mut model = DelayModel::new(1).unwrap();
    /// // Every second a hundred records; of these, outcome 1 (40) is known a second later, outcome 0 (60) after 1 s to 3 s.
    /// for time in 0..40 {
    ///     model.add_records("all", &[time; 100]);
    ///     model.add_labels("all", &[time; 40], &[time + 1; 40], &[true; 40]).unwrap();
    ///     for delay in 1..=3 {
    ///         model.add_labels("all", &[time; 20], &[time + delay; 20], &[false; 20]).unwrap();
    ///     }
    /// }
    /// let found = model.corrected(36..40, 40, 8.0, 1).unwrap();
    /// assert!(found.so_far.unwrap().value > 0.45); // three times 40 of 60, 80 and 100
    /// assert!((found.share.value - 0.4).abs() < 1e-6 && found.share.low < 0.4 && found.share.high > 0.4);
    /// assert!((found.arrived_by("all", false, 2).unwrap() - 2.0 / 3.0).abs() < 1e-6);
    /// ```
    pub fn corrected(
        &self,
        window: Range<i64>,
        now: i64,
        half_life: f64,
        seed: u64,
    ) -> Result<Correction, StatsError> {
        if half_life.is_nan() || half_life <= 0.0 {
            return Err(StatsError::Domain("a half-life is above 0"));
        }
        let strata = self.fitted(&window, now, half_life);
        let (share, unseen) = together(strata.iter().map(|stratum| &stratum.fit))
            .ok_or(StatsError::TooFew { needed: 1, got: 0 })?;
        let (records, arrived) = self.counts(None, window.clone(), now);
        let [negative, positive] = self.outcomes(&window, now);
        let learnt = self.seen(None, now).fold([0, 0], |sums: [u64; 2], cohort| {
            let [negative, positive] = cohort.outcomes();
            [sums[0] + negative, sums[1] + positive]
        });
        if let Some(&got) = learnt.iter().find(|count| **count < FEWEST_LABELS) {
            return Err(StatsError::TooFew { needed: FEWEST_LABELS as usize, got: got as usize });
        }
        let trials = self.trials(&window, now, half_life);
        let interval = spread(share, &strata, &trials, records, seed)?;
        let so_far = (arrived > 0).then(|| wilson(positive, positive + negative)).transpose()?;
        let share = Interval {
            value: share,
            low: interval.low * (1.0 - unseen),
            high: interval.high * (1.0 - unseen) + unseen,
        };
        let delays = strata.into_iter().map(|stratum| {
            let ages =
                stratum.triangle.delays.iter().map(|delay| i64::from(*delay).saturating_mul(self.cell()));
            (stratum.name.to_owned(), ClassDelays { ages: ages.collect(), arrived: stratum.fit.arrived() })
        });
        let (delays, cell) = (delays.collect(), self.cell);
        Ok(Correction { share, so_far, records, arrived, unseen, trials, cell, delays })
    }

    fn fitted(&self, window: &Range<i64>, now: i64, half_life: f64) -> Vec<Fitted<'_>> {
        let cells = self.cells(window);
        let (length, half_life) = ((cells.end - cells.start).max(1), half_life / self.cell() as f64);
        let fit = |name| {
            let cohorts = self.seen(Some(name), now).collect::<Vec<_>>();
            let triangle = Triangle::new(&cohorts, cells.start, length, half_life)?;
            let fit = triangle.fit();
            Some(Fitted { name, triangle, fit })
        };
        self.strata().filter_map(fit).collect()
    }

    /// Makes the same correction for earlier windows, at the moment when they were as young as this one is now. Counts
    /// windows of which nearly all labels are there by now, and moments at which nearly all delays had been seen.
    fn trials(&self, window: &Range<i64>, now: i64, half_life: f64) -> Vec<Trial> {
        let mut trials = Vec::new();
        let length = window.end.saturating_sub(window.start);
        let first = self.seen(None, now).map(|cohort| cohort.index).min().unwrap_or(i64::MAX);
        for back in 1..=i64::from(u16::MAX) {
            let by = length.saturating_mul(back);
            let (start, end) = (window.start.saturating_sub(by), window.end.saturating_sub(by));
            if trials.len() == MOST_TRIALS || length < 1 || self.cells(&(start..end)).start <= first {
                break;
            }
            let then = now.saturating_sub(by);
            let (records, labels) = self.counts(None, start..end, now);
            if records == 0 || (labels as f64) < FINAL * records as f64 {
                continue;
            }
            let strata = self.fitted(&(start..end), then, half_life);
            let [now_negative, now_positive] = self.outcomes(&(start..end), now);
            let [then_negative, then_positive] = self.outcomes(&(start..end), then);
            if let Some((corrected, unseen)) = together(strata.iter().map(|stratum| &stratum.fit))
                && unseen <= 1.0 - FINAL
                && then_negative + then_positive > 0
            {
                let truth = now_positive as f64 / (now_negative + now_positive) as f64;
                let so_far = then_positive as f64 / (then_negative + then_positive) as f64;
                trials.push(Trial { start, so_far, corrected, truth });
            }
        }
        trials
    }
}

impl Correction {
    /// The probability that the label of a row of this stratum and outcome is there at this age in seconds. Its inverse
    /// is the weight of a labelled row; below [`LEAST_ARRIVAL`](super::powered::LEAST_ARRIVAL) no weight helps. None if
    /// the window has no records of the stratum.
    pub fn arrived_by(&self, stratum: &str, outcome: bool, age: i64) -> Option<f64> {
        let delays = self.delays.get(stratum)?;
        let cell = i64::from(self.cell.get());
        let full = age.div_euclid(cell).saturating_mul(cell);
        let count = delays.ages.partition_point(|delay| *delay <= full);
        let [negative, positive] = &delays.arrived;
        let arrived = if outcome { positive } else { negative };
        Some(count.checked_sub(1).and_then(|index| arrived.get(index)).copied().unwrap_or(0.0))
    }

    /// By how much such a correction is off, in log odds (root mean square over the trials); none without trials.
    pub fn usual_error(&self) -> Option<f64> {
        usual_error(&self.trials, self.records)
    }
}

/// The share and the unseen share of all strata together.
fn together<'a>(fits: impl Iterator<Item = &'a Fit>) -> Option<(f64, f64)> {
    let (mut records, mut share, mut unseen) = (0.0, 0.0, 0.0);
    for fit in fits {
        records += fit.records;
        share += fit.records * fit.share();
        unseen += fit.records * fit.unseen();
    }
    (records > 0.0).then(|| (share / records, unseen / records))
}

/// Log odds of a share; shares of 0 and 1 are kept half a record away from these.
fn log_odds(share: f64, records: u64) -> f64 {
    let least = 0.5 / (records.max(1) as f64);
    let share = share.clamp(least, 1.0 - least);
    (share / (1.0 - share)).ln()
}

fn usual_error(trials: &[Trial], records: u64) -> Option<f64> {
    let square =
        |trial: &Trial| (log_odds(trial.corrected, records) - log_odds(trial.truth, records)).powi(2);
    let sum: f64 = trials.iter().map(square).sum();
    (!trials.is_empty()).then(|| (sum / trials.len() as f64).sqrt())
}

/// The wider of the intervals from resampling and from trials.
fn spread(
    share: f64,
    strata: &[Fitted<'_>],
    trials: &[Trial],
    records: u64,
    seed: u64,
) -> Result<Interval, StatsError> {
    let mut random = Random::new(seed);
    let centre = log_odds(share, records);
    let mut square = 0.0;
    for _ in 0..RESAMPLES {
        let fit =
            |Fitted { triangle, fit, .. }: &Fitted<'_>| triangle.resampled(&mut random).fit_from(fit.clone());
        let fits: Vec<Fit> = strata.iter().map(fit).collect();
        let resampled = together(fits.iter()).map_or(share, |(share, _)| share);
        square += (log_odds(resampled, records) - centre).powi(2);
    }
    let mut half = Z_95 * (square / RESAMPLES as f64).sqrt();
    if let Some(error) = usual_error(trials, records) {
        half = half.max(student_quantile(trials.len() as f64)? * error);
    }
    let share_at = |log_odds: f64| 1.0 / (1.0 + (-log_odds).exp());
    let (low, high) = (share_at(centre - half).min(share), share_at(centre + half).max(share));
    Ok(Interval { value: share, low, high })
}
