//! All features together: whether they hang together in a window as they do in the reference. Pure.
//!
//! A column that is shuffled among the rows has the same distribution as before, so no monitor of single columns sees it.
//! Four statistics do, each where the others are weak:
//!
//! - *classifier*: how well a model tells the window's rows from the reference's (area under the ROC curve on rows that it
//!   has not seen); the sharpest where windows are otherwise alike.
//! - *reconstruction*: whether rows lie farther from the reference's principal plane than the reference's own, by rank, so
//!   that no single row decides; two-sided.
//! - *correlations*: the column whose correlations with the others are most unusual ([`Company`]);
//! - *dependence*: the same for how far values go together as they did, beyond what their shares make of it; categories
//!   too. Both do not mind that each window has a weather of its own.
//!
//! Each is judged against the same statistic of the reference's own windows, by a forecast that follows like those of the
//! columns. For this the reference's windows are dealt into five parts, and those of one part are looked at by what was
//! learnt from the other four; what pairs ordinarily do is learnt from all windows but the one that is looked at. Samples
//! bound the cost.
//!
//! A finding matters if it is outside its ordinary range and large: the odds of telling two rows apart rise by a fifth (an
//! area of 0.50 becomes 0.55), a correlation changes by 0.1, or the dependence of a pair by 0.02 nats (that of a correlation
//! of 0.2). What columns that moved by themselves explain is theirs to
//! say, and counts for nothing here; cutting evidence is always allowed.

mod fitted;
mod rows;

use crate::compare::spaced;
use crate::measure::{Evidence, Finding, finding};
use crate::reference::Levels;
use fitted::{Fitted, Look, Scores};
use rows::Features;
use std::collections::BTreeMap;
use std::sync::Arc;
use steersman_domain::measurement::Reading;
use steersman_domain::schema::Column;
use steersman_domain::{MonitorKind, Schema, Window};
use steersman_records::Table;
use steersman_stats::calibration::{Aspect, AspectEvidence, Judgement, Ordinary, WindowValue};
use steersman_stats::multivariate::{Company, CompanyChange, PairChange};

/// Rows of the reference from which is learnt, evenly spaced.
const REFERENCE_ROWS: usize = 4_000;
/// Rows of a window that are looked at, evenly spaced; not more than the largest window of the reference has.
const WINDOW_ROWS: usize = 1_000;
/// Fewer rows say nothing.
const LEAST_ROWS: usize = 40;
/// Windows of the reference that say what is ordinary, the last ones.
const MOST_WINDOWS: usize = 96;
/// Fewer say nothing.
const LEAST_WINDOWS: usize = 10;
/// Parts into which the reference's windows are dealt; coprime to days of the week and hours of the day.
const PARTS: usize = 5;
/// More features than this have too many pairs; the first ones are looked at.
const MOST_COLUMNS: usize = 60;
/// An area under the ROC curve matters when its log odds change by this.
const LEAST_GAIN: f64 = 0.2;
/// A correlation matters when it changes by this.
const LEAST_CORRELATION: f64 = 0.1;
/// The dependence of two columns matters when it changes by this, in nats.
const LEAST_DEPENDENCE: f64 = 0.02;
/// What columns that moved by themselves explain to this share is theirs to say.
const OWN: f64 = 0.5;
/// So many columns or pairs are named.
const NAMED: usize = 3;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Statistic {
    Classifier,
    Reconstruction,
    Correlations,
    Dependence,
}

impl Statistic {
    fn as_str(self) -> &'static str {
        match self {
            Self::Classifier => "classifier",
            Self::Reconstruction => "reconstruction",
            Self::Correlations => "correlations",
            Self::Dependence => "dependence",
        }
    }

    /// Rows may come nearer to the plane as well as go farther from it; the others are distances.
    fn aspect(self) -> Aspect {
        match self {
            Self::Reconstruction => Aspect::Location,
            Self::Classifier | Self::Correlations | Self::Dependence => Aspect::Distance,
        }
    }
}

/// What a window says of all features together.
pub(crate) type Values = BTreeMap<Statistic, WindowValue>;

/// What is ordinary of all features together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Together {
    learnt: Arc<Learnt>,
    ordinary: BTreeMap<Statistic, Ordinary>,
}

#[derive(Debug, PartialEq)]
struct Learnt {
    columns: Vec<Column>,
    /// Rows of a window that are looked at.
    rows: usize,
    fitted: Fitted,
    scores: Scores,
    correlations: Company,
    dependence: Company,
}

/// Everything that was seen in a window.
struct Seen {
    look: Look,
    changes: Changes,
    values: Values,
}

/// The columns whose company changed most, by correlations and by dependence.
#[derive(Default)]
struct Changes {
    correlations: Option<CompanyChange>,
    dependence: Option<CompanyChange>,
}

/// One statistic of a window.
struct Found {
    judged: Judgement,
    matters: bool,
    words: String,
}

impl Together {
    /// Learns from the reference's windows, given by season and rows; none where there are too few of them, or of
    /// features.
    pub(crate) fn learn(schema: &Schema, table: &Table, windows: &[(usize, Vec<usize>)]) -> Option<Self> {
        let columns: Vec<Column> = schema.features.iter().take(MOST_COLUMNS).cloned().collect();
        let windows: Vec<&(usize, Vec<usize>)> =
            windows.iter().filter(|(_, rows)| rows.len() >= LEAST_ROWS).collect();
        if columns.len() < 2 || windows.len() < LEAST_WINDOWS {
            return None;
        }
        let most = windows.iter().map(|(_, rows)| rows.len()).max().unwrap_or(0).min(WINDOW_ROWS);
        let features = Features::of(&columns, table);
        let outside = |part: Option<usize>| -> Vec<usize> {
            let others = windows.iter().enumerate().filter(|(place, _)| Some(place % PARTS) != part);
            others.flat_map(|(_, (_, rows))| rows).copied().collect()
        };
        let parts: Vec<Vec<usize>> = (0..PARTS).map(|part| outside(Some(part))).collect();
        // All learn from as many rows, so that they tell windows apart equally well.
        let size = parts.iter().map(Vec::len).min().unwrap_or(0).min(REFERENCE_ROWS);
        let sample = chosen(&outside(None), size);
        let scores = Scores::of(&features, &sample).ok()?;
        let samples: Vec<(usize, usize, Vec<usize>)> = windows
            .iter()
            .enumerate()
            .skip(windows.len().saturating_sub(MOST_WINDOWS))
            .map(|(place, (season, rows))| (place % PARTS, *season, chosen(rows, most)))
            .collect();
        let fitted: Vec<Option<Fitted>> =
            parts.iter().map(|part| Fitted::of(&features, &chosen(part, size)).ok()).collect();
        let (mut looks, mut correlations, mut dependence) = (Vec::new(), Vec::new(), Vec::new());
        for (part, _, rows) in &samples {
            let look = fitted.get(*part)?.as_ref()?.look(&features, rows).ok()?;
            correlations.push(scores.company(&features, rows).ok()?);
            dependence.push(look.affinities.clone());
            looks.push(look);
        }
        let changes = Company::left_out(&correlations).into_iter().zip(Company::left_out(&dependence));
        let mut values: BTreeMap<Statistic, Vec<WindowValue>> = BTreeMap::new();
        for (((_, season, rows), look), (correlations, dependence)) in samples.iter().zip(&looks).zip(changes)
        {
            let changes = Changes { correlations, dependence };
            for (statistic, value) in self::values(look, &changes, rows.len(), *season) {
                values.entry(statistic).or_default().push(value);
            }
        }
        let learn = |(statistic, values): (Statistic, Vec<WindowValue>)| {
            Some((statistic, Ordinary::learn(&values, statistic.aspect()).ok()?))
        };
        let learnt = Learnt {
            fitted: Fitted::of(&features, &sample).ok()?,
            correlations: Company::learn(&correlations).ok()?,
            dependence: Company::learn(&dependence).ok()?,
            columns,
            rows: most,
            scores,
        };
        Some(Self { learnt: Arc::new(learnt), ordinary: values.into_iter().filter_map(learn).collect() })
    }

    /// What a window of this season says, and the finding. `moved` are columns that changed by themselves.
    pub(crate) fn judge(
        &self,
        table: &Table,
        window: Window,
        season: usize,
        moved: &[String],
    ) -> (Values, Finding) {
        let rows = table.len();
        let of = |reading| finding(MonitorKind::Joint, "", "domain_auc", window, rows as u64, reading);
        let none = |reason| (Values::new(), of(Reading::NotComputable { reason }));
        if rows < LEAST_ROWS {
            return none(format!("only {rows} rows; {LEAST_ROWS} are needed"));
        }
        let seen = match self.learnt.see(table, season) {
            Ok(seen) => seen,
            Err(error) => return none(error.to_string()),
        };
        let auc = seen.look.domain.auc;
        let mut found = of(Reading::between(auc.value, Some(auc.low), Some(auc.high)));
        let statistics: BTreeMap<Statistic, Found> = self
            .ordinary
            .iter()
            .filter_map(|(statistic, ordinary)| {
                let value = seen.values.get(statistic)?;
                let judged = ordinary.judge(value).ok()?;
                Some((*statistic, self.found(*statistic, &seen, value.value, judged, moved)))
            })
            .collect();
        self.tell(&mut found, &seen, &statistics);
        (seen.values, found)
    }

    /// Whether a statistic matters, and its words.
    fn found(
        &self,
        statistic: Statistic,
        seen: &Seen,
        value: f64,
        judged: Judgement,
        moved: &[String],
    ) -> Found {
        let outside = judged.outside(value, statistic.aspect());
        let gained = (value - judged.forecast).abs() >= LEAST_GAIN;
        let of = |part: &f64| part.max(0.0);
        let (large, own, words) = match statistic {
            Statistic::Classifier => {
                let parts: Vec<f64> = seen.look.domain.importance.iter().map(of).collect();
                (gained, self.share(&parts, moved), self.classifier(seen, &judged, &parts))
            }
            Statistic::Reconstruction => {
                let side = (value - judged.forecast).signum();
                let parts: Vec<f64> = seen.look.changed.iter().map(|change| of(&(side * change))).collect();
                (gained, self.share(&parts, moved), self.plane(seen, &judged, &parts))
            }
            Statistic::Correlations => {
                let large = |pair: &PairChange| (pair.current.tanh() - pair.usual.tanh()).abs();
                let words = |pair: &PairChange| {
                    format!("{:.2}, usually {:.2}", pair.current.tanh(), pair.usual.tanh())
                };
                let change = seen.changes.correlations.as_ref();
                self.company(change, moved, |pair| large(pair) >= LEAST_CORRELATION, words)
            }
            Statistic::Dependence => {
                let large = |pair: &PairChange| (pair.current - pair.usual).abs() >= LEAST_DEPENDENCE;
                let words =
                    |pair: &PairChange| format!("{:.2} nats, usually {:.2}", pair.current, pair.usual);
                self.company(seen.changes.dependence.as_ref(), moved, large, words)
            }
        };
        Found { judged, matters: outside && large && own < OWN, words }
    }

    /// Takes what was found into the finding: the clearest that matters first.
    fn tell(&self, found: &mut Finding, seen: &Seen, statistics: &BTreeMap<Statistic, Found>) {
        let measurement = &mut found.measurement;
        let details = &mut measurement.details;
        details.insert("reconstruction_error".to_owned(), seen.look.plane.error.value);
        details.insert("reconstruction_above".to_owned(), seen.look.plane.above);
        let mut order: Vec<&Found> = Vec::new();
        for (statistic, own) in statistics {
            details.insert(format!("{}_p_value", statistic.as_str()), own.judged.p_value);
            details.insert(format!("{}_z", statistic.as_str()), own.judged.z);
            if *statistic == Statistic::Classifier {
                measurement.ordinary = Some((area(own.judged.low), area(own.judged.high)));
            }
            order.push(own);
        }
        order.sort_by(|a, b| a.judged.p_value.total_cmp(&b.judged.p_value));
        details.extend(order.first().map(|own| ("p_value".to_owned(), own.judged.p_value)));
        let counting: Vec<&str> =
            order.iter().filter(|own| own.matters).map(|own| own.words.as_str()).collect();
        found.matters = !counting.is_empty();
        measurement.explanation = match found.matters {
            true => format!("the features no longer hang together as they did: {}", counting.join("; ")),
            false => statistics.get(&Statistic::Classifier).map_or(String::new(), |own| own.words.clone()),
        };
        let evidence = |own: &Found| AspectEvidence::of_window(own.judged.p_value, own.matters);
        found.evidence = Evidence::Aspects(statistics.values().map(evidence).collect());
    }

    fn name(&self, column: usize) -> String {
        self.learnt.columns.get(column).map_or(String::new(), |column| column.name.clone())
    }

    /// The share of a change that is these columns' own.
    fn share(&self, parts: &[f64], moved: &[String]) -> f64 {
        let total: f64 = parts.iter().sum();
        let own = self.learnt.columns.iter().zip(parts).filter(|(column, _)| moved.contains(&column.name));
        own.map(|(_, part)| part).sum::<f64>() / total.max(f64::MIN_POSITIVE)
    }

    /// The columns with the largest parts.
    fn largest(&self, parts: &[f64]) -> String {
        let mut named: Vec<(&str, f64)> = self
            .learnt
            .columns
            .iter()
            .zip(parts)
            .filter(|(_, part)| **part > 0.0)
            .map(|(column, part)| (column.name.as_str(), *part))
            .collect();
        named.sort_by(|a, b| b.1.total_cmp(&a.1));
        let names: Vec<String> = named.iter().take(NAMED).map(|(name, _)| format!("`{name}`")).collect();
        names.join(", ")
    }

    fn classifier(&self, seen: &Seen, judged: &Judgement, parts: &[f64]) -> String {
        let auc = &seen.look.domain.auc;
        let (value, low, high) = (100.0 * auc.value, 100.0 * auc.low, 100.0 * auc.high);
        format!(
            "a classifier tells its rows from the reference's in {value:.0} of 100 pairs ({low:.0} to {high:.0}), ordinarily in {:.0} to {:.0}, most by {}",
            100.0 * area(judged.low),
            100.0 * area(judged.high),
            self.largest(parts)
        )
    }

    fn plane(&self, seen: &Seen, judged: &Judgement, parts: &[f64]) -> String {
        let plane = &seen.look.plane;
        format!(
            "its rows are farther from the reference's principal plane than the reference's own in {:.0} of 100 pairs, ordinarily in {:.0} to {:.0} (mean error {:.2}, in the reference {:.2}), most in {}",
            100.0 * plane.above,
            100.0 * area(judged.low),
            100.0 * area(judged.high),
            plane.error.value,
            plane.reference,
            self.largest(parts)
        )
    }

    /// Whether a column's company changed by much, the share of it that is a moved column's own, and the words.
    fn company(
        &self,
        change: Option<&CompanyChange>,
        moved: &[String],
        large: impl Fn(&PairChange) -> bool,
        words: impl Fn(&PairChange) -> String,
    ) -> (bool, f64, String) {
        let Some(change) = change else { return (false, 0.0, String::new()) };
        let own = self.name(change.column);
        let pairs = change.pairs.iter().take(NAMED);
        let pairs: Vec<String> =
            pairs.map(|pair| format!("with `{}` {}", self.name(pair.other), words(pair))).collect();
        let words = format!("`{own}` goes with the others in another way: {}", pairs.join("; "));
        (change.pairs.iter().any(large), f64::from(moved.contains(&own)), words)
    }

    /// Takes note of a window that is over.
    pub(crate) fn follow(&mut self, values: &Values) {
        for (statistic, ordinary) in &mut self.ordinary {
            // A window of a season that the reference does not have leaves the forecasts as they are.
            let _ = values.get(statistic).map(|value| ordinary.follow(value));
        }
    }

    /// How far the forecasts have followed.
    pub(crate) fn levels(&self) -> Levels {
        let of = |(statistic, ordinary): (&Statistic, &Ordinary)| {
            (statistic.as_str().to_owned(), [(statistic.aspect(), ordinary.level())].into())
        };
        self.ordinary.iter().map(of).collect()
    }

    /// Lets the forecasts go on where they had been.
    pub(crate) fn resume(&mut self, levels: &Levels) {
        for (statistic, ordinary) in &mut self.ordinary {
            let level = levels.get(statistic.as_str()).and_then(|levels| levels.get(&statistic.aspect()));
            level.into_iter().for_each(|level| ordinary.resume(*level));
        }
    }
}

impl Learnt {
    fn see(&self, table: &Table, season: usize) -> Result<Seen, steersman_stats::StatsError> {
        let features = Features::of(&self.columns, table);
        let rows = spaced(table.len(), self.rows);
        let look = self.fitted.look(&features, &rows)?;
        let correlations = self.scores.company(&features, &rows);
        let changes = Changes {
            correlations: correlations.and_then(|pairs| self.correlations.judge(&pairs)).ok(),
            dependence: self.dependence.judge(&look.affinities).ok(),
        };
        let values = values(&look, &changes, rows.len(), season);
        Ok(Seen { look, changes, values })
    }
}

/// The statistics of a window, on scales on which windows vary about normally: areas as log odds, with the variance that
/// their standard errors give by the delta method; the figure of the most unusual column, of which windows of all sizes
/// have the same law, as a logarithm.
fn values(look: &Look, changes: &Changes, rows: usize, season: usize) -> Values {
    let auc = &look.domain.auc;
    let (n, m) = (look.errors as f64, rows as f64);
    let by_chance = ((n + m + 1.0) / (12.0 * n * m)).sqrt();
    let mut values = Values::from([
        (Statistic::Classifier, odds(auc.value, (auc.high - auc.low) / (2.0 * 1.96))),
        (Statistic::Reconstruction, odds(look.plane.above, by_chance)),
    ]);
    let company =
        [(Statistic::Correlations, &changes.correlations), (Statistic::Dependence, &changes.dependence)];
    values.extend(company.into_iter().filter_map(|(statistic, change)| {
        let value = change.as_ref()?.unusual.max(f64::MIN_POSITIVE).ln();
        Some((statistic, WindowValue { value, variance: 0.0, season }))
    }));
    values.into_iter().map(|(statistic, value)| (statistic, value.in_season(season))).collect()
}

/// An area under the ROC curve as log odds.
fn odds(area: f64, error: f64) -> WindowValue {
    let area = area.clamp(0.001, 0.999);
    let slope = 1.0 / (area * (1.0 - area));
    WindowValue { value: (area / (1.0 - area)).ln(), variance: (slope * error).powi(2), season: 0 }
}

/// The area with these log odds.
fn area(odds: f64) -> f64 {
    1.0 / (1.0 + (-odds).exp())
}

/// So many of these rows, evenly spaced.
fn chosen(rows: &[usize], most: usize) -> Vec<usize> {
    spaced(rows.len(), most).into_iter().filter_map(|place| rows.get(place).copied()).collect()
}
