//! Checks of features: a planted skew is found and described, and nothing is found without one.

use std::path::Path;
use steersman_query::features::{Named, Options, Report, check};
use steersman_records::frame::{Frame, Selection};

/// Records of 300 customers at hours 1, 2, ..., and two tables that change every day. `wrong` may change what is logged.
fn project(dir: &Path, wrong: impl Fn(usize, &mut Logged)) {
    let mut calls = "customer,ts,written,calls,plan\n".to_owned();
    for day in 0..20 {
        for customer in 0..30 {
            let value = day_calls(day, customer);
            calls.push_str(&format!(
                "c{customer},2026-01-{:02}T00:00:00Z,2026-01-{:02}T06:00:00Z,{},{}\n",
                day + 1,
                day + 1,
                value.map_or(String::new(), |value| value.to_string()),
                plan(day, customer)
            ));
        }
    }
    std::fs::write(dir.join("calls.csv"), calls).unwrap();
    let mut records = "id,time,customer,calls,plan,other\n".to_owned();
    for row in 0..300 {
        let (day, hour, customer) = (1 + row % 18, row % 24, row % 30);
        let mut logged =
            Logged { day, customer, calls: day_calls(day, customer), plan: plan(day, customer).to_owned() };
        wrong(row, &mut logged);
        records.push_str(&format!(
            "r{row},2026-01-{:02}T{hour:02}:00:00Z,c{customer},{},{},x\n",
            day + 1,
            logged.calls.map_or(String::new(), |value| value.to_string()),
            logged.plan
        ));
    }
    std::fs::write(dir.join("records.csv"), records).unwrap();
}

struct Logged {
    day: usize,
    customer: usize,
    calls: Option<f64>,
    plan: String,
}

fn day_calls(day: usize, customer: usize) -> Option<f64> {
    // Every seventh value is missing, and must stay so.
    (!(day + customer).is_multiple_of(7)).then_some((day * 31 + customer) as f64 / 3.0)
}

fn plan(day: usize, customer: usize) -> &'static str {
    ["basic", "gold", "family"][(day + customer) % 3]
}

fn checked(dir: &Path, options: Options) -> Report {
    let read =
        |name: &str| Frame::read(&dir.join(name).display().to_string(), &Selection::default()).unwrap();
    check(&read("records.csv"), &[read("calls.csv")], &options, &|_, _| {}).unwrap()
}

fn options() -> Options {
    Options { entities: vec![Named::parse("customer")], ..Options::default() }
}

#[test]
fn without_skew_there_is_nothing_to_report() {
    let dir = tempfile::tempdir().unwrap();
    project(dir.path(), |_, logged| {
        // The last digits of a number that went through another program.
        logged.calls = logged.calls.map(|calls| calls * (1.0 + 1e-9));
    });
    let report = checked(dir.path(), options());
    assert!(!report.skewed, "{report:?}");
    assert_eq!(report.features.len(), 2);
    assert!(report.features.iter().all(|feature| feature.mismatches == 0 && feature.compared == 300));
    let table = &report.tables[0];
    assert_eq!((table.matched, table.no_row, table.unknown_entity, table.without_key), (300, 0, 0, 0));
    assert_eq!(table.staleness_seconds.unwrap().max, 23.0 * 3600.0);
    assert_eq!((table.time.as_str(), &table.created), ("ts", &None));
}

#[test]
fn a_store_that_lags_is_found_and_told_from_a_leak() {
    let dir = tempfile::tempdir().unwrap();
    project(dir.path(), |row, logged| {
        if row % 10 == 3 {
            logged.calls = day_calls(logged.day - 1, logged.customer);
        }
        if row % 20 == 7 {
            logged.plan = plan(logged.day + 1, logged.customer).to_owned();
        }
    });
    let report = checked(dir.path(), options());
    assert!(report.skewed);
    let feature = |name: &str| report.features.iter().find(|feature| feature.name == name).unwrap();
    let calls = feature("calls");
    assert_eq!(
        (calls.mismatches, calls.earlier_value, calls.later_value),
        (30, 30 - calls.missing_in_record, 0)
    );
    assert_eq!(calls.different + calls.missing_in_record + calls.missing_in_table, 30);
    assert!((calls.difference.unwrap().median + 31.0 / 3.0).abs() < 1e-9);
    assert_eq!(calls.examples.len(), 5);
    assert!(calls.first_seen.as_ref().unwrap() <= calls.last_seen.as_ref().unwrap());
    let first = &calls.examples[0];
    assert_eq!((Some(&first.time), first.id.starts_with('r')), (calls.first_seen.as_ref(), true));
    let plan = feature("plan");
    assert_eq!(
        (plan.mismatches, plan.earlier_value, plan.later_value, plan.kind),
        (15, 0, 15, "categorical")
    );
    assert!(plan.share.unwrap().low < 0.05 && plan.share.unwrap().high > 0.05);
    let accepting = checked(dir.path(), Options { accept: 0.1, ..options() });
    assert!(!accepting.skewed);
}

#[test]
fn what_was_written_later_was_not_known() {
    let dir = tempfile::tempdir().unwrap();
    project(dir.path(), |row, logged| {
        // Served before 06:00, when the day's values were written: what was known was the day before.
        if row % 24 < 6 {
            logged.calls = day_calls(logged.day - 1, logged.customer);
            logged.plan = plan(logged.day - 1, logged.customer).to_owned();
        }
    });
    assert!(checked(dir.path(), options()).skewed);
    let known = checked(dir.path(), Options { created: Some("written".to_owned()), ..options() });
    assert!(!known.skewed, "{known:?}");
    assert_eq!(known.tables[0].time, "ts");
}

#[test]
fn too_old_rows_and_unknown_entities_are_counted_apart() {
    let dir = tempfile::tempdir().unwrap();
    project(dir.path(), |_, _| {});
    let mut records = std::fs::read_to_string(dir.path().join("records.csv")).unwrap();
    records.push_str(
        "n1,2026-02-20T00:00:00Z,c1,,,x\nn2,2026-01-10T00:00:00Z,nobody,,,x\nn3,2026-01-10T00:00:00Z,,5,,x\n",
    );
    std::fs::write(dir.path().join("records.csv"), records).unwrap();
    let report = checked(dir.path(), Options { ttl: Some("2d".parse().unwrap()), ..options() });
    let table = &report.tables[0];
    assert_eq!((table.matched, table.no_row, table.unknown_entity, table.without_key), (300, 1, 1, 1));
    assert!(!report.skewed, "records without values should have none, and without a key they do not count");
}

#[test]
fn what_cannot_be_compared_is_named() {
    let dir = tempfile::tempdir().unwrap();
    project(dir.path(), |_, _| {});
    let read = |name: &str| {
        Frame::read(&dir.path().join(name).display().to_string(), &Selection::default()).unwrap()
    };
    let refusal = |options: Options| {
        check(&read("records.csv"), &[read("calls.csv")], &options, &|_, _| {}).unwrap_err().to_string()
    };
    for (options, wanted) in [
        (
            Options { entities: vec![Named::parse("client")], ..options() },
            "none of the entity columns client (hint: its columns are customer, ts",
        ),
        (Options { entities: vec![Named::parse("client=customer")], ..options() }, "has no column `client`"),
        (Options { time: Some("when".to_owned()), ..options() }, "has no column `when`"),
        (Options { time: Some("plan".to_owned()), ..options() }, "no column of times"),
        (Options { created: Some("plan".to_owned()), ..options() }, "has no times in `plan`"),
        (Options { features: vec![Named::parse("nosuch")], ..options() }, "share no feature"),
        (
            Options { features: vec![Named::parse("calls"), Named::parse("nosuch")], ..options() },
            "no table has `nosuch`",
        ),
        (Options { record_time: "customer".to_owned(), ..options() }, "no column of times called `customer`"),
    ] {
        let found = refusal(options);
        assert!(found.contains(wanted), "{found}");
    }
}
