//! The gateway's numbers, in the Prometheus text format.

use crate::breaker::BreakerState;
use crate::gateway::Gateway;
use crate::route::Counters;
use std::fmt::Write as _;
use steersman_domain::ModelName;
use steersman_domain::fact::TripCause;

impl Gateway {
    /// Appends all of its numbers.
    pub fn write_metrics(&self, text: &mut String) {
        let mut line = |name: &str, labels: &str, value: u64| {
            let _ = writeln!(text, "steersman_{name}{labels} {value}");
        };
        line("gateway_connections", "", self.connections() as u64);
        line("gateway_mirrors", "", self.mirroring() as u64);
        line("gateway_captured_total", "", self.captured());
        line("gateway_capture_waiting_bytes", "", self.waiting_bytes());
        for (fault, count) in self.client_faults() {
            line("gateway_client_faults_total", &format!("{{fault=\"{}\"}}", fault.as_str()), count);
        }
        for model in self.models() {
            write_counters(text, &model, "", &self.counters(&model));
            let mut line = |name: &str, labels: &str, value: u64| {
                let _ = writeln!(text, "steersman_{name}{labels} {value}");
            };
            for server in self.health(&model) {
                let labels = format!("model=\"{model}\",version=\"{}\"", server.version);
                let state = match server.breaker {
                    BreakerState::Closed => 0,
                    BreakerState::Probing => 1,
                    BreakerState::Open => 2,
                };
                line("breaker_state", &format!("{{{labels}}}"), state);
                line("breaker_opened_total", &format!("{{{labels}}}"), server.breaker_opened);
                line("upstream_in_flight", &format!("{{{labels}}}"), server.in_flight);
                for (fault, count) in server.faults {
                    let labels = format!("{{{labels},fault=\"{}\"}}", fault.as_str());
                    line("upstream_faults_total", &labels, count);
                }
            }
        }
    }
}

/// Appends what a gateway counted for a model; `more` is further labels, each after a comma.
pub fn write_counters(text: &mut String, model: &ModelName, more: &str, counters: &Counters) {
    let labels = format!("{{model=\"{model}\"{more}}}");
    let mut line = |name: &str, value: u64| {
        let _ = writeln!(text, "steersman_{name}{labels} {value}");
    };
    line("champion_requests_total", counters.champion_requests);
    line("candidate_requests", counters.candidate_requests);
    line("shadow_requests", counters.shadow_requests);
    line("failed_requests_total", counters.failed_requests);
    line("fallbacks_total", counters.fallbacks);
    line("budget_refusals_total", counters.budget_refusals);
    line("retries_total", counters.retries);
    line("aborted_requests_total", counters.aborted_requests);
    line("shed_mirrors_total", counters.shed_mirrors);
    line("skipped_mirrors_total", counters.skipped_mirrors);
    line("shed_captures_total", counters.shed_captures);
    line("tripped_dead_man", u64::from(counters.tripped == Some(TripCause::DeadMan)));
    line("tripped_budget", u64::from(counters.tripped == Some(TripCause::Budget)));
}
