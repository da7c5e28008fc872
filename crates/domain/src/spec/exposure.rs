//! Who may be given to a candidate at all, and how many of each segment.

use crate::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `audience = { by = "cookie:beta", values = ["yes"] }`: only requests with one of these values may be given to the
/// candidate; all others stay with the champion, and chance has no part in that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Audience {
    /// The name of a request header, or `cookie:NAME`.
    pub by: String,
    /// The values that belong to it; none for any value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// `{ column = "region", requests = 100 }`: the most requests of each value of a column that the candidate may answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentBudget {
    /// The column: the name of an input of the request, else a header `x-segment-COLUMN`.
    pub column: String,
    /// The most requests of each value.
    pub requests: u64,
}

/// What is wrong with who is told apart by what.
pub(super) fn check(
    sticky: Option<&str>,
    audience: Option<&Audience>,
    segments: &[SegmentBudget],
    budget: Option<u64>,
) -> Result<(), Problem> {
    let by = [("rollout.sticky", sticky), ("rollout.audience.by", audience.map(|one| one.by.as_str()))];
    for (field, by) in by {
        let name = by.map(|by| by.strip_prefix("cookie:").unwrap_or(by));
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_some_and(|name| name.is_empty() || !name.chars().all(token)) {
            return Err(Problem::invalid("not the name of a header or cookie")
                .field(field)
                .hint("write `x-user` or `cookie:session`"));
        }
    }
    if !segments.is_empty() && budget.is_none() {
        return Err(Problem::invalid("without a budget of all requests")
            .field("rollout.segment_budgets")
            .hint("set `budget` too: several gateways share both in the same proportion"));
    }
    Ok(())
}
