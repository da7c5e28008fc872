//! `[rollout]`, beyond its first keys: segments and means that are judged by themselves, what an estimate may do, how
//! long the old champion stays, and which steps a strategy takes.

use super::{Guardrail, RolloutSection, Share, Stage, Strategy};
use crate::problem::Problem;
use crate::time::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// At most so many segments are judged by themselves: each takes its part of `alpha`.
pub const JUDGED_SEGMENTS: usize = 20;
/// At most so many means.
pub const JUDGED_MEANS: usize = 4;
/// The candidate's share up to which a stage counts as early.
const EARLY: f64 = 0.05;

/// A value of a feature, written `origin = JFK`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SegmentValue {
    /// The feature.
    pub column: String,
    /// Its value.
    pub value: String,
}

impl FromStr for SegmentValue {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        let parts = text.split_once('=').map(|(column, value)| (column.trim(), value.trim()));
        match parts.filter(|(column, value)| !column.is_empty() && !value.is_empty()) {
            Some((column, value)) => Ok(Self { column: column.to_owned(), value: value.to_owned() }),
            None => Err(Problem::invalid(format!("`{text}` is not a segment")).hint("write `origin = JFK`")),
        }
    }
}

impl TryFrom<String> for SegmentValue {
    type Error = Problem;
    fn try_from(text: String) -> Result<Self, Problem> {
        text.parse()
    }
}

impl From<SegmentValue> for String {
    fn from(segment: SegmentValue) -> String {
        segment.to_string()
    }
}

impl fmt::Display for SegmentValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.column, self.value)
    }
}

/// `means = [{ column = "tokens", range = [0, 4096], tolerance = 50 }]`: a number that must not get worse on average,
/// such as a cost or a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MeanGuard {
    /// An output or a feature.
    pub column: String,
    /// Values are cut to this range; the narrower it is, the sooner the judge decides.
    pub range: (f64, f64),
    /// The candidate's mean may be worse by so much.
    pub tolerance: f64,
    /// Which way is worse.
    #[serde(default)]
    pub worse: Worse,
}

/// Which way is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Worse {
    /// More is worse: a cost.
    #[default]
    Higher,
    /// Less is worse: a score.
    Lower,
}

/// What estimated performance may do until the labels come. Each may also do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EstimateUse {
    /// Nothing.
    Ignore,
    /// Keep the candidate from going on.
    #[default]
    Hold,
    /// Withdraw the candidate.
    RollBack,
    /// Stand for the proof of safety that the labels would give.
    Promote,
}

/// How long the old champion stays ready after a promotion: a period, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Guard(pub Option<Period>);

impl TryFrom<String> for Guard {
    type Error = Problem;
    fn try_from(text: String) -> Result<Self, Problem> {
        match text.trim() {
            "off" => Ok(Self(None)),
            text => Ok(Self(Some(text.parse().map_err(|problem: Problem| problem.hint("or write `off`"))?))),
        }
    }
}

impl From<Guard> for String {
    fn from(guard: Guard) -> String {
        guard.0.map_or("off".to_owned(), |period| period.to_string())
    }
}

impl Strategy {
    /// The word in files and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Canary => "canary",
            Self::BlueGreen => "blue_green",
            Self::Ab => "ab",
            Self::ChampionChallenger => "champion_challenger",
        }
    }

    /// The steps that it takes where a spec names none.
    pub fn stages(self) -> Vec<Stage> {
        let stage = |share, at_least| Stage { share, at_least };
        let hours = |hours: i64| Some(Period::from_seconds(3_600 * hours));
        let full = stage(Share::Percent(100.0), None);
        match self {
            Self::Shadow => vec![stage(Share::Shadow, hours(24)), full],
            Self::Canary => vec![
                stage(Share::Shadow, hours(1)),
                stage(Share::Percent(5.0), None),
                stage(Share::Percent(25.0), None),
                full,
            ],
            Self::BlueGreen => vec![stage(Share::Preview, Some(Period::from_seconds(600))), full],
            Self::Ab => vec![stage(Share::Percent(50.0), hours(7 * 24)), full],
            Self::ChampionChallenger => vec![stage(Share::Shadow, hours(7 * 24)), full],
        }
    }

    /// Whether a candidate must be proven better than the champion, not only safe.
    pub fn must_win(self) -> bool {
        matches!(self, Self::Ab | Self::ChampionChallenger)
    }
}

impl Stage {
    /// Whether the candidate gets copies of all requests.
    pub fn mirror(&self) -> bool {
        self.share == Share::Shadow
    }

    /// Whether the judge must speak before the rollout goes on.
    pub fn judged(&self) -> bool {
        self.share != Share::Preview
    }

    /// Whether so few requests are exposed that a wider margin does.
    pub fn early(&self) -> bool {
        matches!(self.share, Share::Percent(_)) && self.weight() <= EARLY
    }

    /// Where it may stand among others.
    fn rank(&self) -> f64 {
        match self.share {
            Share::Preview => -2.0,
            Share::Shadow => -1.0,
            Share::Percent(percent) => percent,
        }
    }
}

impl RolloutSection {
    /// The steps: those of the spec, or those that the strategy takes.
    pub fn steps(&self) -> Vec<Stage> {
        if self.stages.is_empty() { self.strategy.stages() } else { self.stages.clone() }
    }

    /// Contradictions that types cannot rule out.
    pub fn check(&self) -> Result<(), Problem> {
        let wrong = |field: &str, message: &str, hint: &str| {
            Err(Problem::invalid(message).field(format!("rollout.{field}")).hint(hint))
        };
        if !(self.harm >= 1.0 && self.harm < self.margin) {
            return wrong("harm", "not at least 1 and below `margin`", "1.0: any harm that can be proven");
        }
        if !(self.early_margin > 1.0 && self.early_margin <= 10.0) {
            return wrong(
                "early_margin",
                "not above 1 and at most 10",
                "2.0: half the proof, for a few requests",
            );
        }
        if !(0.0..=1.0).contains(&self.maturity) {
            return wrong("maturity", "not between 0 and 1", "0.8: four of five labels that are due");
        }
        if self.guardrails.contains(&Guardrail::Mean) {
            return wrong("guardrails", "`mean` needs a column", "name it in `rollout.means`");
        }
        if self.segments.len() > JUDGED_SEGMENTS {
            return wrong("segments", "too many", "at most 20: each takes its part of alpha");
        }
        check_means(self)?;
        check_stages(self)
    }
}

fn check_means(rollout: &RolloutSection) -> Result<(), Problem> {
    if rollout.means.len() > JUDGED_MEANS {
        return Err(Problem::invalid("too many")
            .field("rollout.means")
            .hint("at most 4: each takes its part of alpha"));
    }
    for (place, mean) in rollout.means.iter().enumerate() {
        let wrong = |field: &str, message: &str, hint: &str| {
            Err(Problem::invalid(message).field(format!("rollout.means[{place}].{field}")).hint(hint))
        };
        let (low, high) = mean.range;
        if !(low.is_finite() && high.is_finite() && low < high) {
            return wrong("range", "not a range", "the lowest and the highest value, such as [0, 4096]");
        }
        if !(mean.tolerance > 0.0 && mean.tolerance < high - low) {
            return wrong(
                "tolerance",
                "not above 0 and below the width of the range",
                "how much worse may it be?",
            );
        }
    }
    Ok(())
}

fn check_stages(rollout: &RolloutSection) -> Result<(), Problem> {
    let wrong = |message: &str, hint: &str| Err(Problem::invalid(message).field("rollout.stages").hint(hint));
    let steps = rollout.steps();
    let Some((last, before)) = steps.split_last() else { return Ok(()) };
    if last.weight() != 1.0 {
        return wrong("does not end with `100%`", "the last stage makes the candidate champion");
    }
    if steps.windows(2).any(|pair| pair[0].rank() >= pair[1].rank()) {
        return wrong("does not rise from stage to stage", "for example shadow 1d, 5%, 25%, 100%");
    }
    if before.is_empty() {
        return wrong(
            "has no stage before `100%`",
            "a step in which it is judged, or at least `preview 10m`",
        );
    }
    let exposed = before.iter().any(|stage| stage.weight() > 0.0);
    match rollout.strategy {
        Strategy::Shadow if exposed => wrong(
            "gives requests to the candidate before it is proven safe",
            "`shadow 1d`, `100%`; or take `canary`",
        ),
        Strategy::BlueGreen if exposed => {
            wrong("splits requests, where all move at once", "`preview 10m`, `100%`; or take `canary`")
        }
        Strategy::Ab if !exposed => {
            wrong("splits no requests", "`50% 7d`, `100%`; or take `champion_challenger`")
        }
        Strategy::Ab if rollout.sticky.is_none() => Err(Problem::invalid("missing")
            .field("rollout.sticky")
            .hint("name the header that keeps a caller on one side, such as `x-user-id`")),
        Strategy::Ab | Strategy::ChampionChallenger
            if !rollout.guardrails.contains(&Guardrail::Performance) =>
        {
            Err(Problem::invalid("without `performance`")
                .field("rollout.guardrails")
                .hint("the candidate must be proven better at it"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::{ModelSpec, Strategy};

    fn refusal(rollout: &str) -> String {
        let text = "[model]\nname='m'\ntask='binary'\nprediction='p'\nlabel={column='y'}\n[data]\nreference='r'\ntime='t'\n";
        match ModelSpec::parse(&format!("{text}[rollout]\n{rollout}\n")) {
            Ok(spec) => format!("fine: {} stages", spec.rollout.steps().len()),
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn strategies_take_their_own_steps_and_refuse_others() {
        for strategy in
            [Strategy::Shadow, Strategy::Canary, Strategy::BlueGreen, Strategy::ChampionChallenger]
        {
            let text = format!("strategy='{}'", strategy.as_str());
            assert_eq!(refusal(&text), format!("fine: {} stages", strategy.stages().len()));
        }
        assert!(refusal("strategy='ab'").starts_with("rollout.sticky: missing"));
        assert_eq!(refusal("strategy='ab'\nsticky='x-user'"), "fine: 2 stages");
        let early = refusal("strategy='blue_green'\nstages=['5%', '100%']");
        assert!(early.starts_with("rollout.stages: splits requests"), "{early}");
        assert_eq!(
            refusal("strategy='blue_green'\nstages=['preview 1h', 'shadow 1h', '100%']"),
            "fine: 3 stages"
        );
        let blind = refusal("strategy='champion_challenger'\nguardrails=['errors']");
        assert!(blind.starts_with("rollout.guardrails: without `performance`"), "{blind}");
    }

    #[test]
    fn refusals_name_the_key() {
        assert!(refusal("segments=['origin']").contains("`origin` is not a segment"));
        assert!(refusal("guard='soon'").contains("or write `off`"));
        assert_eq!(refusal("guard='off'"), "fine: 4 stages");
        let range = refusal("means=[{column='tokens', range=[5, 5], tolerance=1}]");
        assert!(range.starts_with("rollout.means[0].range: not a range"), "{range}");
        assert!(refusal("harm=3.0").starts_with("rollout.harm: not at least 1"));
        assert!(refusal("guardrails=['mean']").starts_with("rollout.guardrails: `mean` needs a column"));
    }
}
