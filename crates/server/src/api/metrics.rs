//! Steersman's own numbers, in the Prometheus text format.

use crate::Platform;
use axum::extract::State;
use std::fmt::Write as _;

pub(super) async fn metrics(State(platform): State<Platform>) -> String {
    let state = platform.state();
    let mut text = String::new();
    let mut line = |name: &str, labels: &str, value: u64| {
        let _ = writeln!(text, "steersman_{name}{labels} {value}");
    };
    line("ledger_entries", "", state.size);
    line("leads", "", u64::from(platform.leads()));
    line("capture_failures_total", "", platform.capture_failures());
    let admission = platform.admission();
    line("ingest_in_flight_bytes", "", admission.in_flight());
    line("ingest_in_flight_bytes_limit", "", admission.limits().in_flight);
    line("ingest_body_bytes_limit", "", admission.limits().largest_body);
    let (thrown_away, cut_off) = admission.thrown_away();
    line("refused_body_bytes_total", "", thrown_away);
    line("refused_bodies_cut_off_total", "", cut_off);
    let events = platform.event_counts();
    line("events_waiting", "", events.waiting);
    line("events_waiting_bytes", "", events.waiting_bytes);
    line("events_paired_total", "", events.paired);
    line("events_unpaired_total", "", events.unpaired);
    line("events_repeated_total", "", events.repeated);
    line("events_shed_total", "", events.shed);
    let queries = platform.queries().load();
    line("queries_running", "", queries.running);
    line("queries_running_limit", "", queries.at_once);
    let limits = platform.queries().limits();
    line("queries_memory_bytes_limit", "", limits.memory as u64);
    line("queries_seconds_limit", "", limits.time.as_secs());
    line("queries_rows_limit", "", limits.most_rows as u64);
    line("queries_answer_bytes_limit", "", limits.answer_bytes as u64);
    line("queries_answered_total", "", queries.answered);
    for (limit, count) in [
        ("at_once", queries.busy),
        ("time", queries.too_slow),
        ("memory", queries.out_of_memory),
        ("size", queries.too_large),
    ] {
        line("queries_refused_total", &format!("{{limit=\"{limit}\"}}"), count);
    }
    line("id_bytes_limit", "", platform.log().id_bytes_limit());
    for name in state.models.keys() {
        let labels = format!("{{model=\"{name}\"}}");
        let (in_flight, refused) = admission.of(name);
        line("model_ingest_in_flight_bytes", &labels, in_flight);
        line("model_ingest_in_flight_bytes_limit", &labels, admission.limits().in_flight_per_model);
        line("model_ingest_busy_total", &labels, refused);
        if let Ok(stats) = platform.log().stats(name) {
            line("records", &labels, stats.records);
            line("labels", &labels, stats.labels);
            line("labels_without_record", &labels, stats.labels_without_record);
            line("segments", &labels, stats.segments);
            line("segment_bytes", &labels, stats.segment_bytes);
            line("ids", &labels, stats.ids);
            line("id_bytes", &labels, stats.id_bytes);
            line("id_tail_bytes", &labels, stats.tail_id_bytes);
            line("id_file_bytes", &labels, stats.id_file_bytes);
            line("wal_bytes", &labels, stats.wal_bytes);
            line("wal_bytes_limit", &labels, stats.wal_bytes_limit);
            line("unflushed_rows", &labels, stats.unflushed_rows);
            line("refused_rows_total", &labels, stats.refused);
            line("unknown_column_values_total", &labels, stats.unknown_columns.values().sum());
        }
    }
    platform.gateway().write_metrics(&mut text);
    for (gateway, seen, counters) in platform.gateways() {
        let _ = writeln!(text, "steersman_gateway_reported_ms{{gateway=\"{gateway}\"}} {}", seen.as_millis());
        for (model, counters) in counters {
            steersman_gateway::write_counters(
                &mut text,
                &model,
                &format!(",gateway=\"{gateway}\""),
                &counters,
            );
        }
    }
    text
}
