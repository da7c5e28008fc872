//! What is wrong with the values of one column in one window.
//!
//! Where rows are also compared with rows, the larger of the two p-values counts: rows of one day are alike, which only
//! windows know, and small windows say little, which only rows know.

use super::usual::{judge, longest_value, outside, range, undeclared, wide};
use super::{steady, weigh};
use crate::measure::{Evidence, Finding, LEAST_ROWS, finding};
use crate::reference::{Cells, ReferenceColumn};
use std::cmp::Ordering;
use steersman_domain::measurement::Reading;
use steersman_domain::spec::QualitySection;
use steersman_domain::{MonitorKind, Window};
use steersman_stats::calibration::{Aspect, AspectEvidence, ColumnJudgement, Floors};
use steersman_stats::interval::wilson;
use steersman_stats::profile::{ColumnProfile, NumericProfile};
use steersman_stats::quality::{Floor, Repeats, constant, held, stale};

/// One column of one window, beside what was learnt.
pub(crate) struct Seen<'a> {
    pub(crate) name: &'a str,
    pub(crate) learnt: &'a ReferenceColumn,
    pub(crate) profile: &'a ColumnProfile,
    pub(crate) cells: &'a Cells,
    /// A number for each value.
    pub(crate) codes: &'a [Option<u64>],
    pub(crate) window: Window,
}

impl Seen<'_> {
    /// What is wrong with the column. Checks that found nothing have no finding.
    pub(crate) fn findings(&self, rules: &QualitySection, judged: Option<&ColumnJudgement>) -> Vec<Finding> {
        let watched = |monitor: MonitorKind| rules.watches(self.name, monitor);
        let mut missing = self.missing(judged);
        let gone =
            missing.as_mut().filter(|_| watched(MonitorKind::Schema)).and_then(|found| self.gone(found));
        let strange = self.strange();
        // That a value which cannot be right is always the same is the lesser news.
        let still = match strange.as_ref().is_some_and(|found| found.matters) {
            true => None,
            false => {
                let within = self.constant().or_else(|| self.stale());
                let rank =
                    |found: &Finding| (!found.matters, found.measurement.details.get("p_value").copied());
                let stands =
                    |a: &Finding, b: &Finding| rank(a).partial_cmp(&rank(b)).unwrap_or(Ordering::Equal);
                within.into_iter().chain(self.held()).min_by(stands)
            }
        };
        let findings = [gone, missing, strange, still].into_iter().flatten();
        findings.filter(|found| watched(found.measurement.monitor)).collect()
    }

    fn share(&self, monitor: MonitorKind, metric: &str, hits: u64, count: u64) -> Option<Finding> {
        let share = wilson(hits, count).ok()?;
        let reading = Reading::between(share.value, Some(share.low), Some(share.high));
        Some(finding(monitor, self.name, metric, self.window, count, reading))
    }

    fn missing(&self, judged: Option<&ColumnJudgement>) -> Option<Finding> {
        let (name, before, now) = (self.name, &self.learnt.profile, self.profile);
        if before.missing() == 0 && now.missing() == 0 {
            return None;
        }
        let mut found = self.share(MonitorKind::Missing, "missing_share", now.missing(), now.rows())?;
        let (share, usual) =
            (found.measurement.reading.value()?, wilson(before.missing(), before.rows()).ok()?);
        found.measurement.explanation = format!(
            "{:.1} % of `{name}` is missing, {:.1} % in the reference",
            100.0 * share,
            100.0 * usual.value
        );
        let accepted = self.learnt.quality.rules.missing;
        let aspect = judged?.aspects.iter().find(|(aspect, ..)| *aspect == Aspect::Missing);
        if let Some((_, judged, matters)) = aspect.filter(|_| now.rows() >= LEAST_ROWS) {
            found.measurement.ordinary = Some(range(judged));
            let matters = *matters && accepted.is_none_or(|accepted| share > accepted.share());
            weigh(&mut found, AspectEvidence::of_window(judged.p_value, matters));
        }
        Some(found)
    }

    /// A column of which nothing is there any more is a change of the schema: that is said once, so what is missing is still
    /// shown but weighs nothing.
    fn gone(&self, missing: &mut Finding) -> Option<Finding> {
        let nothing = self.profile.missing() == self.profile.rows();
        if !(nothing && missing.matters) {
            return None;
        }
        let mut found = missing.clone();
        found.measurement.monitor = MonitorKind::Schema;
        found.measurement.metric = "absent_share".to_owned();
        found.measurement.explanation =
            format!("none of {} records carries `{}` any more", self.profile.rows(), self.name);
        missing.evidence = Evidence::None;
        Some(found)
    }

    /// Values that the reference has nothing like, or that the spec does not have.
    fn strange(&self) -> Option<Finding> {
        let (name, usual) = (self.name, &self.learnt.quality);
        let (monitor, metric, (hits, count)) = match (&self.learnt.profile, self.profile, self.cells) {
            (ColumnProfile::Categorical(before), ColumnProfile::Categorical(now), Cells::Texts(values)) => {
                let counts = match &usual.rules.categories {
                    Some(known) => undeclared(values.iter().flatten().map(String::as_str), known),
                    None => (now.cells(before).last().copied()?, now.count),
                };
                (MonitorKind::Unseen, "unseen_share", counts)
            }
            (ColumnProfile::Numeric(before), ColumnProfile::Numeric(_), Cells::Numbers(values)) => {
                let range = match usual.rules.range {
                    Some(range) => range.into(),
                    None => wide(before.min?, before.max?),
                };
                let known: Vec<f64> =
                    values.iter().flatten().copied().filter(|own| own.is_finite()).collect();
                (MonitorKind::Range, "outside_share", outside(&known, range))
            }
            _ => return None,
        };
        let mut found = self.share(monitor, metric, hits, count).filter(|_| hits > 0)?;
        let percent = 100.0 * hits as f64 / count as f64;
        found.measurement.explanation = match (&self.learnt.profile, self.profile, usual.rules.range) {
            (ColumnProfile::Numeric(before), ColumnProfile::Numeric(now), declared) => {
                let ends =
                    |profile: &NumericProfile| (profile.min.unwrap_or(0.0), profile.max.unwrap_or(0.0));
                let (least, most) = ends(now);
                let limits = match (declared, ends(before)) {
                    (Some([low, high]), _) => format!("outside {low} to {high}, as the spec has it"),
                    (None, (low, high)) => format!("far outside the reference's {low:.3} to {high:.3}"),
                };
                format!("{percent:.1} % of `{name}` are {limits}; they reach from {least:.3} to {most:.3}")
            }
            _ if usual.rules.categories.is_some() => {
                format!("{percent:.1} % of `{name}` are categories that the spec does not have")
            }
            _ => format!("{percent:.1} % of `{name}` are categories that the reference does not have"),
        };
        if let Some((value, judged)) = judge(usual.strange.as_ref(), hits, count) {
            found.measurement.ordinary = Some(range(&judged));
            let matters = Floors::default().window_matters(Aspect::Missing, &value, &judged, 0.0);
            weigh(&mut found, AspectEvidence::of_window(judged.p_value, matters));
        }
        Some(found)
    }

    /// One value all window long, in a column that varies in the reference.
    fn constant(&self) -> Option<Finding> {
        let (usual, codes) = (&self.learnt.quality, self.codes);
        let mut known = codes.iter().flatten();
        let first = known.next()?;
        let count = 1 + known.clone().count() as u64;
        if known.any(|code| code != first) {
            return None;
        }
        let check = constant(usual.top_rows, (count, count)).ok().filter(|check| check.matters)?;
        let (value, judged) = judge(usual.top.as_ref(), count, count)?;
        let mut found = self.share(MonitorKind::Constant, "most_frequent_share", count, count)?;
        let shown = self.value(codes.iter().position(|code| code == &Some(*first))?);
        found.measurement.explanation = format!(
            "`{}` is {shown} in all {count} records; the most frequent value of the reference has {:.1} % of it",
            self.name,
            100.0 * check.usual.value
        );
        found.measurement.ordinary = Some(range(&judged));
        let p_value = check.p_value.max(judged.p_value);
        let unusual = judged.outside(value.value, Aspect::Missing);
        weigh(&mut found, AspectEvidence::of_window(p_value, unusual));
        Some(found)
    }

    /// The same value again and again.
    fn stale(&self) -> Option<Finding> {
        let usual = &self.learnt.quality;
        let own = Repeats::of(self.codes.iter().copied());
        let check = stale(&usual.repeats, &own, Floor::default()).ok().filter(|check| check.matters)?;
        let (share, longest) = usual.repeating.as_ref()?;
        let (value, of_share) = judge(Some(share), own.repeats, own.pairs)?;
        let run = longest_value(&own);
        let of_run = longest.judge(&run).ok()?;
        let mut found = self.share(MonitorKind::Stale, "repeated_share", own.repeats, own.pairs)?;
        found.measurement.explanation = format!(
            "{:.1} % of `{}` are the same as the value before, {:.1} % in the reference; it stood still for {} records, \
             in the reference for {} at most",
            100.0 * check.repeats.share.value,
            self.name,
            100.0 * check.repeats.usual.value,
            own.longest + 1,
            usual.repeats.longest + 1
        );
        found.measurement.ordinary = Some(range(&of_share));
        found.measurement.details.insert("longest_run".to_owned(), own.longest as f64 + 1.0);
        let unusual =
            of_share.z > 0.0 && of_share.outside(value.value, Aspect::Missing) || run.value > of_run.high;
        let p_value = (2.0 * of_share.p_value.min(of_run.p_value)).min(1.0).max(check.p_value);
        weigh(&mut found, AspectEvidence::of_window(p_value, unusual));
        Some(found)
    }

    /// The same value window after window, in a column that has one value in each.
    fn held(&self) -> Option<Finding> {
        let usual = &self.learnt.quality;
        let run = usual.held.after(steady(self.codes)?);
        let check = held(&usual.holding, run.repeats).ok().filter(|check| check.matters)?;
        let (windows, longest) = (run.repeats + 1, usual.holding.longest + 1);
        let reading = Reading::of(windows as f64);
        let mut found =
            finding(MonitorKind::Stale, self.name, "windows_held", self.window, self.profile.rows(), reading);
        let shown = self.value(run.row(self.codes)?);
        found.measurement.explanation = format!(
            "`{}` has been {shown} for {windows} windows in a row, in the reference the same value for {longest} at most",
            self.name
        );
        found.measurement.ordinary = Some((1.0, longest as f64));
        weigh(&mut found, AspectEvidence { p_value: check.p_value, matters: true, run: true });
        Some(found)
    }

    /// A value, in words.
    fn value(&self, row: usize) -> String {
        match self.cells {
            Cells::Numbers(values) => {
                values.get(row).copied().flatten().map_or(String::new(), |own| own.to_string())
            }
            Cells::Texts(values) => {
                let text = values.get(row).and_then(Option::as_deref).unwrap_or_default();
                format!("`{}`", text.chars().take(40).collect::<String>())
            }
        }
    }
}
