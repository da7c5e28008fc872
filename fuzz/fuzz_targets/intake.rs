//! Bodies of records and labels as anybody may send them. What is read must survive being read: the rows that are taken
//! in and those that are refused are all there are.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use steersman_domain::schema::{Column, ColumnKind};
use steersman_domain::{Schema, Task};
use steersman_records::Kind;
use steersman_records::intake::{Format, Packing, Wanted, read, unpack};

fn schema() -> Schema {
    let column = |name: &str, kind| Column { name: name.to_owned(), kind };
    Schema {
        features: vec![
            column("age", ColumnKind::Numeric),
            column("town", ColumnKind::Categorical),
            column("member", ColumnKind::Boolean),
        ],
        prediction: column("score", ColumnKind::Numeric),
        label: column("late", ColumnKind::Numeric),
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, body)) = data.split_first() else { return };
    let format = [Format::Lines, Format::Array, Format::Arrow][usize::from(choice & 3) % 3];
    let kind = if choice & 4 == 0 { Kind::Records } else { Kind::Labels };
    let packing = [Packing::Plain, Packing::Gzip, Packing::Zstd, Packing::Plain][usize::from(choice >> 3 & 3)];
    let task = if choice & 32 == 0 { Task::Binary } else { Task::Regression };
    let Ok(body) = unpack(packing, Bytes::copy_from_slice(body), 1 << 20, &mut |_| Ok(())) else { return };
    assert!(body.len() <= 1 << 20);
    let schema = schema();
    let now = jiff::Timestamp::from_second(1_800_000_000).unwrap();
    if let Ok(intake) = read(&Wanted { kind, schema: &schema, task, now }, format, &body) {
        assert_eq!(intake.refusals.faults.len() as u64, intake.refusals.count);
        if format == Format::Lines {
            let lines = body.split(|&byte| byte == b'\n').count() as u64;
            assert!(intake.rows.len() as u64 + intake.refusals.count <= lines);
        }
    }
});
