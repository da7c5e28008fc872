//! How long a stretch without a record ordinarily is, and how long it has to be before chance makes none as long within
//! the budget.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};
use steersman_stats::series::Season;

/// So many days are needed, two weeks of five, and so many last ones are remembered.
const DAYS: (usize, usize) = (10, 60);
/// Days that were lived through, however much the reference says: two, so that one night is among them.
const LEAST_LIVED: usize = 2;
/// Tails are at least as heavy as those of a Pareto law with this index, however many days there are.
const MOST_INDEX: f64 = 8.0;
/// Stretches that are longer by less than this share are as long.
const TRIFLE: f64 = 0.05;

/// The longest stretch of each day, in records that ordinarily come in such a time.
///
/// In this unit stretches of a Poisson process are exponential whatever the season; a sender that collects has longer
/// ones, and its own. What exceeds the median day is extrapolated: where excesses are exponential, the chance that the
/// next one is more than `x` is `(1 + x / sum)^-n` after `n` of them (the predictive law with the uncertainty of their
/// mean; J. Aitchison, I. Dunsmore, *Statistical Prediction Analysis*, 1975, section 2.4). That is a Pareto law; its index is
/// no more than 8, and less where excesses vary more than exponential ones: rates that vary (negative binomial counts)
/// make such tails, and so does one stretch far beyond all others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Longest {
    /// The pattern of the levels by which stretches are measured, and the days of the week that weigh nothing.
    season: Season,
    idle: BTreeSet<i64>,
    /// What the times of the reference say, or the days before the pattern was known, until enough days were lived through.
    reference: Vec<f64>,
    days: VecDeque<f64>,
    /// Days that were lived through, also before the pattern was known.
    lived: usize,
    today: Option<(i64, f64)>,
}

/// Excesses over the median day.
struct Tail {
    from: f64,
    mean: f64,
    /// Excesses for each day.
    share: f64,
    index: f64,
}

impl Longest {
    /// What the reference says, as the longest stretch of each of its days.
    pub(super) fn learn(&mut self, reference: Vec<f64>) {
        self.reference = reference;
    }

    /// Levels follow this pattern from now on, and these days of the week weigh nothing. Before that was known, nights or
    /// weekends were long: what was learnt until then serves only until there is better, and a pattern that comes and
    /// goes is met once.
    pub(super) fn follow(&mut self, season: Season, idle: &BTreeSet<i64>) {
        if self.season < season || self.idle != *idle {
            let enough = self.lived >= DAYS.0;
            let reference = self.known().filter(|_| enough).unwrap_or_default();
            let (season, idle) = (season.max(self.season), idle.clone());
            *self = Self { season, idle, reference, lived: self.lived, ..Self::default() };
        }
    }

    /// Whether the days that were lived through are too few, and what the reference says is not known.
    pub(super) fn wants_reference(&self) -> bool {
        self.reference.is_empty() && self.days.len() < DAYS.0
    }

    /// Takes a stretch in that ended on this day.
    pub(super) fn add(&mut self, day: i64, records: f64) {
        match &mut self.today {
            Some((today, longest)) if *today >= day => *longest = longest.max(records),
            today => {
                if let Some((_, longest)) = today.replace((day, records)) {
                    self.days.push_back(longest);
                    self.lived += 1;
                }
                if self.days.len() > DAYS.1 {
                    self.days.pop_front();
                }
            }
        }
    }

    /// The longest one that is ordinary: that of all days so far. None while too few are known.
    pub(super) fn ordinary(&self) -> Option<f64> {
        self.known()?.last().copied()
    }

    /// The stretch that is exceeded so many times a day by chance.
    pub(super) fn limit(&self, a_day: f64) -> Option<f64> {
        let tail = self.tail()?;
        let reach = (tail.share / a_day).powf(1.0 / tail.index) - 1.0;
        Some(tail.from + tail.mean * tail.index * reach.max(0.0))
    }

    /// How many times a day chance exceeds a stretch.
    pub(super) fn times_a_day(&self, records: f64) -> Option<f64> {
        let tail = self.tail()?;
        let excess = (records - tail.from).max(0.0) / (tail.mean * tail.index);
        Some(tail.share * (1.0 + excess).powf(-tail.index))
    }

    fn known(&self) -> Option<Vec<f64>> {
        let lived = self.days.iter().copied();
        let mut known: Vec<f64> = match self.days.len() {
            days if days >= DAYS.0 => lived.collect(),
            _ if self.lived >= LEAST_LIVED && self.reference.len() >= DAYS.0 => {
                self.reference.iter().copied().chain(lived).collect()
            }
            _ => return None,
        };
        known.sort_by(f64::total_cmp);
        Some(known)
    }

    fn tail(&self) -> Option<Tail> {
        let known = self.known()?;
        let days = known.len();
        let (_, above) = known.split_at(days / 2);
        let (from, above) = above.split_first()?;
        let count = above.len() as f64;
        let mean = above.iter().map(|records| records - from).sum::<f64>() / count;
        let variance = above.iter().map(|records| (records - from - mean).powi(2)).sum::<f64>() / count;
        // A Pareto law with index `a` has the squared coefficient of variation `a / (a - 2)`, an exponential one 1.
        let heavier = (variance > mean * mean).then(|| 2.0 / (1.0 - mean * mean / variance));
        Some(Tail {
            from: *from,
            mean: mean.max(TRIFLE * from).max(f64::MIN_POSITIVE),
            share: count / days as f64,
            index: heavier.unwrap_or(MOST_INDEX).min(count).min(MOST_INDEX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_beyond_what_is_ordinary_by_what_the_budget_asks_for() {
        let mut longest = Longest::default();
        // Fifteen days, the last of which is under way.
        (0..15).for_each(|day| longest.add(day, f64::from(u8::try_from(day % 7).unwrap())));
        assert_eq!(longest.ordinary(), Some(6.0));
        let limit = longest.limit(1.0 / 5_760.0).unwrap();
        assert!(limit > 20.0 && limit < 40.0, "{limit}");
        assert!((longest.times_a_day(limit).unwrap() * 5_760.0 - 1.0).abs() < 1e-9);
        assert!(longest.limit(1.0 / 100.0).unwrap() < limit);
    }

    #[test]
    fn nothing_is_said_before_ten_days_or_two_days_beside_a_reference() {
        let mut longest = Longest::default();
        (0..10).for_each(|day| longest.add(day, 5.0));
        assert_eq!(longest.limit(0.001), None);
        longest.add(10, 5.0);
        assert!(longest.limit(0.001).is_some());
        // Days before the pattern was known are better than nothing.
        longest.follow(Season::Day, &BTreeSet::new());
        assert_eq!(longest.ordinary(), Some(5.0));
        (11..14).for_each(|day| longest.add(day, 1.0));
        assert_eq!(longest.ordinary(), Some(5.0));
        (14..23).for_each(|day| longest.add(day, 1.0));
        assert_eq!(longest.ordinary(), Some(1.0));
        let mut longest = Longest::default();
        longest.learn(vec![5.0; 20]);
        (0..2).for_each(|day| longest.add(day, 5.0));
        assert_eq!(longest.limit(0.001), None);
        longest.add(2, 5.0);
        assert!(longest.limit(0.001).is_some());
    }
}
