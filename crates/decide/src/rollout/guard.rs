//! After a promotion: the old champion stands ready for a time, and comes back at once if the new one turns out worse.

use super::{say_at, server_gone};
use crate::engine::{About, Intent};
use steersman_domain::Fact;
use steersman_domain::fact::{RolloutCommand, VerdictOutcome};
use steersman_ledger::state::{GuardState, RolloutState};

/// Ends the guard when its time is over or the new champion must go.
pub(super) fn guard(
    about: &About<'_>,
    rollout: &RolloutState,
    guard: &GuardState,
    intents: &mut Vec<Intent>,
) {
    let Some(finished) = &rollout.finished else { return };
    let wanted = rollout.command(RolloutCommand::Abort).filter(|abort| abort.seq > finished.seq);
    let verdict = about.observation.verdict.as_ref();
    let harmful = verdict.filter(|verdict| verdict.outcome == VerdictOutcome::Fail);
    if let Some(abort) = wanted {
        let reason = format!("a person wanted it back: {}", abort.reason);
        revert(about, rollout, vec![finished.seq, abort.seq], reason, intents);
    } else if let Some(reason) = server_gone(about.model, rollout, guard.since) {
        revert(about, rollout, vec![finished.seq], reason, intents);
    } else if let Some(verdict) = harmful {
        intents.extend(say_at(about, rollout, rollout.plan.stages.len().saturating_sub(1), verdict));
        revert(about, rollout, vec![finished.seq], verdict.explanation.clone(), intents);
    } else if guard.until <= about.now {
        let reason = format!("nothing spoke against {} since its promotion", rollout.candidate);
        intents.push(end(about, rollout, vec![finished.seq], true, reason));
    }
}

fn end(about: &About<'_>, rollout: &RolloutState, because: Vec<u64>, kept: bool, reason: String) -> Intent {
    about.intent("guard", because, |intent| Fact::GuardEnded {
        model: about.name.clone(),
        rollout: rollout.rollout.clone(),
        intent,
        kept,
        reason,
    })
}

fn revert(
    about: &About<'_>,
    rollout: &RolloutState,
    because: Vec<u64>,
    reason: String,
    intents: &mut Vec<Intent>,
) {
    intents.push(end(about, rollout, because.clone(), false, reason));
    intents.push(about.intent("revert", because, |intent| Fact::ChampionChanged {
        model: about.name.clone(),
        version: rollout.champion,
        previous: about.model.champion(),
        intent,
        rollout: Some(rollout.rollout.clone()),
    }));
}
