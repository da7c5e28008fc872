//! The record log through its public face.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod archive;
mod bucket;
mod frames;
mod full_disk;
mod ids;
mod intake;
mod kill;
mod late_labels;
mod log;
mod references;
mod series;

use jiff::Timestamp;
use steersman_domain::record::Arm;
use steersman_domain::schema::{Column, ColumnKind};
use steersman_domain::time::from_micros;
use steersman_domain::{Label, ModelName, Record, Schema};

fn schema() -> Schema {
    let column = |name: &str, kind| Column { name: name.to_owned(), kind };
    Schema {
        features: vec![column("age", ColumnKind::Numeric), column("town", ColumnKind::Categorical)],
        prediction: column("score", ColumnKind::Numeric),
        label: column("late", ColumnKind::Numeric),
    }
}

fn name() -> ModelName {
    "flight-delay".parse().unwrap()
}

fn at(second: i64) -> Timestamp {
    from_micros(second * 1_000_000)
}

fn record(number: i64) -> Record {
    Record {
        id: format!("r{number}").parse().unwrap(),
        time: at(number),
        version: Some("v1".to_owned()),
        arm: Some(if number % 5 == 0 { Arm::Candidate } else { Arm::Champion }),
        weight: Some(0.2),
        unit: Some(u64::MAX - number.unsigned_abs()),
        features: [("age".to_owned(), (number as f64 / 3.0).into()), ("town".to_owned(), "Bonn".into())]
            .into(),
        outputs: [("score".to_owned(), 0.5.into())].into(),
        latency_ms: Some(1.5),
        status: Some(200),
    }
}

fn label(number: i64, truth: f64) -> Label {
    Label { id: format!("r{number}").parse().unwrap(), label: truth.into(), time: at(number + 100) }
}
