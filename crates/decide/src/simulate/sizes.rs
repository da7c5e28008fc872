//! Which candidates a strategy is tried with.

use super::Change;
use steersman_domain::fact::RolloutPlan;
use steersman_domain::spec::Guardrail;

/// How much worse, or better, than the champion the candidates are that a strategy is tried with.
#[derive(Debug, Clone, PartialEq)]
pub struct Sizes {
    /// How many times the champion's bad calls: failed, unanswered, slow.
    pub calls: Vec<f64>,
    /// How many times its wrong predictions.
    pub predictions: Vec<f64>,
    /// How many times its wrong predictions a candidate has that is better.
    pub better: f64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { calls: vec![2.0, 10.0], predictions: vec![1.25, 1.5], better: 0.8 }
    }
}

impl Sizes {
    /// The candidates for one plan: as good as the champion, then better where that can be proven, then worse in one thing
    /// that is judged at a time. Means are left out: nothing is known of their spread.
    pub fn changes(&self, plan: &RolloutPlan) -> Vec<Change> {
        let judges = |guardrail| plan.guardrails.contains(&guardrail);
        let change = |guardrail, ratio| Change { guardrail: Some(guardrail), ratio };
        let better = judges(Guardrail::Performance).then(|| change(Guardrail::Performance, self.better));
        let worse = plan.guardrails.iter().flat_map(|&guardrail| {
            let ratios = match guardrail {
                Guardrail::Mean => &[][..],
                Guardrail::Performance => &self.predictions,
                _ => &self.calls,
            };
            ratios.iter().map(move |&ratio| change(guardrail, ratio))
        });
        std::iter::once(Change::NONE).chain(better).chain(worse).collect()
    }
}
