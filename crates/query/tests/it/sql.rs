//! Promises of SQL over the record log.

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Float64Type;
use jiff::Timestamp;
use std::time::Duration;
use steersman_domain::record::Arm;
use steersman_domain::schema::{Column, ColumnKind};
use steersman_domain::time::from_micros;
use steersman_domain::{ErrorKind, Label, ModelName, Problem, Record, Schema, Value};
use steersman_query::sql::{Answer, Engine, Format, Limits, Query};
use steersman_records::{RecordLog, Scan, Which};

const HOUR: i64 = 3_600_000_000;

fn at(hours: i64) -> Timestamp {
    from_micros(1_767_225_600_000_000 + hours * HOUR)
}

fn name() -> ModelName {
    "flight-delay".parse().unwrap()
}

fn schema() -> Schema {
    let column = |name: &str, kind| Column { name: name.to_owned(), kind };
    Schema {
        features: vec![column("distance", ColumnKind::Numeric), column("Carrier", ColumnKind::Categorical)],
        prediction: column("score", ColumnKind::Numeric),
        label: column("late", ColumnKind::Numeric),
    }
}

fn record(row: i64, arm: Option<Arm>) -> Record {
    let carrier = ["AA", "UA", "DL"][usize::try_from(row % 3).unwrap()];
    let mut features: std::collections::BTreeMap<String, Value> =
        [("Carrier".to_owned(), Value::Text(carrier.to_owned()))].into();
    if row % 5 != 0 {
        features.insert("distance".to_owned(), Value::Number(row as f64));
    }
    Record {
        id: format!("r{row:05}").parse().unwrap(),
        time: at(row),
        version: Some("v1".to_owned()),
        arm,
        weight: None,
        unit: None,
        features,
        outputs: [("score".to_owned(), Value::Number(row as f64 / 100.0))].into(),
        latency_ms: Some(3.5),
        status: Some(200),
    }
}

fn label(row: i64) -> Label {
    Label {
        id: format!("r{row:05}").parse().unwrap(),
        label: Value::Number((row % 2) as f64),
        time: at(row + 3),
    }
}

/// Segments of 100 hours each and a tail, with labels for some, early, twice and without a record.
fn log(dir: &std::path::Path) -> RecordLog {
    let log = RecordLog::open(dir).unwrap();
    log.declare(&name(), &schema()).unwrap();
    log.append_labels(&name(), vec![label(350), label(99_999)], at(0)).unwrap();
    for segment in 0..4 {
        let rows = segment * 100..(segment + 1) * 100;
        log.append_records(&name(), rows.clone().map(|row| record(row, None)).collect(), at(rows.end))
            .unwrap();
        let labels = rows.clone().filter(|row| row % 4 == 0).map(label).collect();
        log.append_labels(&name(), labels, at(rows.end + 1)).unwrap();
        log.append_records(&name(), vec![record(rows.start, Some(Arm::Shadow))], at(rows.end + 1)).unwrap();
        if segment < 3 {
            log.flush().unwrap();
        }
    }
    let corrected = Label { label: Value::Number(1.0), ..label(8) };
    log.append_labels(&name(), vec![corrected], at(500)).unwrap();
    log
}

struct Asked {
    _dir: tempfile::TempDir,
    log: RecordLog,
    engine: Engine,
}

fn asked(limits: Limits) -> Asked {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path());
    let engine = Engine::new(log.clone(), limits).unwrap();
    Asked { _dir: dir, log, engine }
}

impl Asked {
    fn query(&self, query: Query) -> Result<Answer, Problem> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.engine.run(self.engine.slot().unwrap(), query, Ok))
    }

    fn ask(&self, sql: &str) -> Result<Answer, Problem> {
        self.query(Query { sql: sql.to_owned(), ..Query::default() })
    }

    fn csv(&self, sql: &str) -> String {
        String::from_utf8(self.ask(sql).unwrap().write(Format::Csv).unwrap()).unwrap()
    }

    fn refusal(&self, sql: &str) -> String {
        self.ask(sql).unwrap_err().to_string()
    }
}

fn whole(answer: &Answer) -> RecordBatch {
    concat_batches(&answer.schema, &answer.batches).unwrap()
}

#[test]
fn a_table_is_what_the_log_holds_with_its_labels() {
    let asked = asked(Limits::default());
    for (as_of, arms) in [(None, ""), (Some(at(250)), ""), (Some(at(401)), "$shadow"), (Some(at(499)), "")] {
        let sql = format!("SELECT * FROM \"flight-delay{arms}\" ORDER BY time, id");
        let answer = asked.query(Query { sql, as_of, ..Query::default() }).unwrap();
        let names: Vec<&str> = answer.schema.fields().iter().map(|field| field.name().as_str()).collect();
        let expected = [
            "id",
            "time",
            "version",
            "latency_ms",
            "status",
            "distance",
            "Carrier",
            "score",
            "label",
            "label_time",
            "received_at",
        ];
        assert_eq!(names, expected);
        let arms =
            if arms.is_empty() { steersman_records::Arms::Served } else { steersman_records::Arms::Shadow };
        let table = asked.log.table(&name(), &Scan { as_of, arms, ..Scan::default() }).unwrap();
        let found = whole(&answer);
        assert_eq!(found.num_rows(), table.len());
        assert!(table.len() > 3);
        for name in expected {
            assert_eq!(
                found.column_by_name(name),
                table.batch().column_by_name(name),
                "{name} as of {as_of:?}"
            );
        }
    }
}

#[test]
fn conditions_on_the_time_choose_segments() {
    let asked = asked(Limits::default());
    let read = |sql: &str| {
        let before = asked.engine.parts_read();
        let rows =
            whole(&asked.ask(sql).unwrap()).column(0).as_primitive::<arrow::datatypes::Int64Type>().value(0);
        (asked.engine.parts_read() - before, rows)
    };
    let count = "SELECT count(*) AS n FROM \"flight-delay\"";
    assert_eq!(read(count), (4, 400));
    assert_eq!(read(&format!("{count} WHERE time >= '2026-01-14T00:00:00Z'")), (1, 88));
    assert_eq!(read(&format!("{count} WHERE time < '2026-01-05' AND distance > 10")), (1, 68));
    assert_eq!(
        read(&format!("{count} WHERE time BETWEEN '2026-01-05T03:00:00Z' AND '2026-01-05T04:00:00Z'")),
        (2, 2)
    );
    assert_eq!(read(&format!("{count} WHERE time > '2030-01-01'")), (0, 0));
    assert_eq!(read(&format!("{count} WHERE time > '2026-01-14' OR distance = 1")), (4, 88));
}

#[test]
fn an_id_chooses_segments() {
    let asked = asked(Limits::default());
    let read = |condition: &str| {
        let before = asked.engine.parts_read();
        let found =
            asked.csv(&format!("SELECT id, label FROM \"flight-delay\" WHERE {condition} ORDER BY id"));
        (asked.engine.parts_read() - before, found.lines().skip(1).collect::<Vec<_>>().join(" "))
    };
    // The tail is always looked at.
    assert_eq!(read("id = 'r00104'"), (2, "r00104,0.0".to_owned()));
    assert_eq!(
        read("id IN ('r00008', 'r00301', 'r00308', 'nobody')"),
        (2, "r00008,1.0 r00301, r00308,0.0".to_owned())
    );
    assert_eq!(read("'r00150' = id OR id = 'r00250'"), (3, "r00150, r00250,".to_owned()));
    assert_eq!(read("id = 'r00150' AND time > '2026-01-14'"), (1, String::new()));
    assert_eq!(read("id = 'nobody'"), (1, String::new()));
    assert_eq!(read("id = 'r00104' OR distance = 7").0, 4);
    let shadow = asked.csv("SELECT count(*) AS n FROM \"flight-delay$shadow\" WHERE id = 'r00100'");
    assert_eq!(shadow, "n\n1\n");
}

#[test]
fn now_is_when_the_query_is_asked() {
    let asked = asked(Limits::default());
    let query = |sql: &str| Query { sql: sql.to_owned(), now: at(399), ..Query::default() };
    let csv =
        |sql: &str| String::from_utf8(asked.query(query(sql)).unwrap().write(Format::Csv).unwrap()).unwrap();
    let before = asked.engine.parts_read();
    let sql = "SELECT count(*) AS n FROM \"flight-delay\" WHERE time > now() - INTERVAL '10 hours'";
    assert_eq!((csv(sql).as_str(), asked.engine.parts_read() - before), ("n\n10\n", 1));
    let all = csv(
        "SELECT now() = CURRENT_TIMESTAMP AS same, now() AS now, CURRENT_DATE AS day, today() AS today, CURRENT_TIME AS time",
    );
    assert_eq!(all.lines().last(), Some("true,2026-01-17T15:00:00Z,2026-01-17,2026-01-17,15:00:00"));
}

#[test]
fn a_view_does_not_change_while_the_log_grows() {
    let asked = asked(Limits::default());
    let scan = Scan::default();
    let view = std::sync::Arc::new(asked.log.parts(&name(), &scan).unwrap());
    asked.log.append_records(&name(), (400..410).map(|row| record(row, None)).collect(), at(600)).unwrap();
    asked.log.append_labels(&name(), vec![label(1)], at(600)).unwrap();
    let place = view.fields().index_of("label").unwrap();
    let batches = view.parts().iter().flat_map(|part| view.read(part, &[place], &Which::default()).unwrap());
    let (rows, labels) = batches.map(|batch| batch.unwrap()).fold((0, 0), |(rows, labels), batch| {
        (rows + batch.num_rows(), labels + batch.num_rows() - batch.column(0).null_count())
    });
    assert_eq!((rows, labels), (400, 101));
}

#[test]
fn distances_and_profiles_are_those_of_the_library() {
    use steersman_stats::distance::{Convention, compare_numeric};
    use steersman_stats::profile::ColumnProfile;
    let asked = asked(Limits::default());
    let values =
        |from: i64, to: i64| (from..to).filter(|row| row % 5 != 0).map(|row| row as f64).collect::<Vec<_>>();
    let expected = compare_numeric(&values(0, 312), &values(312, 400), Convention::Steersman).unwrap();
    for distance in ["psi", "jensen_shannon", "kolmogorov_smirnov", "wasserstein", "hellinger"] {
        let sql = format!("SELECT {distance}(distance, time >= '2026-01-14') AS d FROM \"flight-delay\"");
        let found = whole(&asked.ask(&sql).unwrap()).column(0).as_primitive::<Float64Type>().value(0);
        assert!((found - expected.distances[distance]).abs() < 1e-12, "{distance}: {found}");
    }
    let by_group = asked.csv("SELECT \"Carrier\" = 'AA' AS a, psi(\"Carrier\", time >= '2026-01-14') < 0.1 AS same FROM \"flight-delay\" GROUP BY 1 ORDER BY 1");
    assert_eq!(by_group, "a,same\nfalse,true\ntrue,true\n");
    let described = asked.csv("SELECT profile(distance) AS p FROM \"flight-delay\"");
    assert!(
        described.contains("\"\"count\"\":320") && described.contains("\"\"missing\"\":80"),
        "{described}"
    );
    let answer = whole(&asked.ask("SELECT profile_bytes(\"Carrier\") AS p FROM \"flight-delay\"").unwrap());
    assert_eq!(ColumnProfile::from_bytes(answer.column(0).as_binary::<i64>().value(0)).unwrap().rows(), 400);
    let merged = asked.csv(
        "SELECT merge_profiles(p) AS p FROM (SELECT profile_bytes(distance) AS p FROM \"flight-delay\" GROUP BY \"Carrier\")",
    );
    assert!(merged.contains("\"\"max\"\":399.0"), "{merged}");
    let median = asked.csv("SELECT quantile(score, 0.5) AS q FROM \"flight-delay\"");
    assert!(median.starts_with("q\n1.9") || median.starts_with("q\n2"), "{median}");
}

#[test]
fn what_is_there_can_be_found_out() {
    let asked = asked(Limits::default());
    assert_eq!(asked.csv("SHOW TABLES"), "table_name\nflight-delay\nflight-delay$shadow\n");
    assert!(asked.csv("DESCRIBE \"flight-delay\"").contains("distance,Float64"));
    assert!(asked.csv("EXPLAIN SELECT id FROM \"flight-delay\"").contains("StreamingTableExec"));
    let json = asked.ask("SELECT time, status FROM \"flight-delay\" WHERE id = 'r00001'").unwrap();
    assert_eq!(
        String::from_utf8(json.write(Format::Ndjson).unwrap()).unwrap(),
        "{\"time\":\"2026-01-01T01:00:00Z\",\"status\":200}\n"
    );
}

#[test]
fn queries_only_read() {
    let asked = asked(Limits::default());
    for (sql, word) in [
        ("COPY (SELECT 1) TO 'copy.csv'", "COPY"),
        ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", "CREATE"),
        ("CREATE TABLE t AS SELECT 1", "CREATE"),
        ("CREATE VIEW v AS SELECT 1", "CREATE"),
        ("INSERT INTO \"flight-delay\" (id) VALUES ('a')", "INSERT"),
        ("DELETE FROM \"flight-delay\"", "DELETE"),
        ("UPDATE \"flight-delay\" SET score = 1", "UPDATE"),
        ("DROP TABLE \"flight-delay\"", "DROP"),
        ("TRUNCATE TABLE \"flight-delay\"", "TRUNCATE"),
        ("SET datafusion.execution.batch_size = 1", "SET"),
        ("RESET datafusion.execution.batch_size", "RESET"),
        ("BEGIN", "BEGIN"),
        ("PREPARE p AS SELECT 1", "PREPARE"),
        ("EXPLAIN ANALYZE DELETE FROM \"flight-delay\"", "DELETE"),
        ("EXPLAIN COPY (SELECT 1) TO 'copy.csv'", "COPY"),
    ] {
        let refusal = asked.refusal(sql);
        assert!(refusal.starts_with(&format!("`{word}` is not allowed")), "{sql}: {refusal}");
    }
    for (sql, wanted) in [
        ("SELECT * FROM '/etc/passwd'", "there is no table `/etc/passwd`"),
        ("SELECT * FROM read_csv('/etc/passwd')", "there is no table `read_csv`"),
        ("SELECT 1; SELECT 2", "2 statements where one is expected"),
        ("  -- nothing", "the query is empty"),
        ("WITH gone AS (DELETE FROM \"flight-delay\" RETURNING id) SELECT * FROM gone", "not implemented"),
    ] {
        let refusal = asked.refusal(sql);
        assert!(refusal.contains(wanted), "{sql}: {refusal}");
    }
    assert_eq!(asked.csv("SELECT count(*) AS n FROM \"flight-delay\""), "n\n400\n");
}

#[test]
fn errors_name_the_place_and_what_there_is() {
    let asked = asked(Limits::default());
    for (sql, wanted) in [
        ("SELECT distanse FROM \"flight-delay\"", "did you mean `distance`?"),
        ("SELECT carrier FROM \"flight-delay\"", "did you mean `Carrier`?"),
        ("SELECT height FROM \"flight-delay\"", "the columns are id, time, version"),
        ("SELECT * FROM flight_delay", "did you mean `flight-delay`?"),
        ("SELECT * FROM flight-delay", "put the name in double quotes: \"flight-delay\""),
        ("SELECT *\nFROM \"flight-delay\" WHER 1", "line 2, column"),
        ("SELECT id, id FROM \"flight-delay\"", "id"),
        (
            "SELECT a.id, b.id FROM \"flight-delay\" a JOIN \"flight-delay\" b ON a.id = b.id",
            "two columns of the answer are called `id`",
        ),
        ("SELECT psi(time, true) FROM \"flight-delay\"", "psi is known of numbers, categories and flags"),
        ("SELECT psi(score) FROM \"flight-delay\"", "psi(column, is_current) takes a column and a condition"),
        ("SELECT wasserstein(\"Carrier\", true) FROM \"flight-delay\"", "wasserstein is known of numbers"),
        ("SELECT nosuch(score) FROM \"flight-delay\"", "nosuch"),
        ("SELECT CAST('x' AS DOUBLE) FROM \"flight-delay\"", "x"),
        ("SELECT count(*) FROM \"flight-delay\" WHERE time > 'yesterday'", "yesterday"),
    ] {
        let refusal = asked.refusal(sql);
        assert!(refusal.contains(wanted), "{sql}: {refusal}");
    }
}

#[test]
fn limits_hold_and_are_visible() {
    let limits = Limits {
        rows: 10,
        most_rows: 50,
        memory: 32 << 20,
        time: Duration::from_secs(2),
        at_once: 1,
        ..Limits::default()
    };
    let asked = asked(limits);
    let answer = asked.ask("SELECT * FROM \"flight-delay\" ORDER BY time DESC").unwrap();
    assert_eq!((answer.rows, answer.truncated), (10, true));
    let exact = Query {
        sql: "SELECT id FROM \"flight-delay\" LIMIT 50".to_owned(),
        limit: Some(50),
        ..Query::default()
    };
    let answer = asked.query(exact.clone()).unwrap();
    assert_eq!((answer.rows, answer.truncated), (50, false));
    assert!(
        asked
            .query(Query { limit: Some(51), ..exact })
            .unwrap_err()
            .to_string()
            .starts_with("limit: 51 rows")
    );
    let series = "generate_series(1, 1000000)";
    let hungry = "SELECT array_agg(a.value) AS l FROM generate_series(1, 20000000) a";
    assert_eq!(asked.ask(hungry).unwrap_err().kind, ErrorKind::TooLarge);
    let all = format!("SELECT count(*) AS n FROM {series} a, {series} b WHERE a.value + b.value = 3");
    assert!(asked.ask(&all).unwrap_err().to_string().starts_with("a join without an equality"));
    let few =
        "SELECT count(*) AS n FROM \"flight-delay\" WHERE score > (SELECT avg(score) FROM \"flight-delay\")";
    assert_eq!(asked.csv(few), "n\n200\n");
    // A row at a time and without end: it needs time, not memory.
    let slow = "SELECT sum(a.value) AS n FROM generate_series(1, 1000000000000) a";
    let refusal = asked.ask(slow).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::TooLarge, "{refusal}");
    let held = asked.engine.slot();
    assert!(held.is_some() && asked.engine.slot().is_none());
    let load = asked.engine.load();
    let refused = (load.busy, load.too_slow, load.out_of_memory, load.too_large);
    assert_eq!((load.running, load.at_once, load.answered, refused), (1, 1, 3, (1, 1, 1, 1)));
}

#[test]
fn a_query_that_nobody_waits_for_ends() {
    let asked = asked(Limits { at_once: 1, time: Duration::from_secs(600), ..Limits::default() });
    let series = "generate_series(1, 100000)";
    let sql = format!("SELECT sum(a.value * b.value) AS n FROM {series} a CROSS JOIN {series} b");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let query = Query { sql, ..Query::default() };
        let run = asked.engine.run(asked.engine.slot().unwrap(), query, Ok);
        assert!(tokio::time::timeout(Duration::from_millis(500), run).await.is_err());
        while asked.engine.slot().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}

#[test]
fn deep_and_long_queries_are_refused() {
    let asked = asked(Limits::default());
    let chain = |sign: &str| format!("SELECT 1{} AS n", format!("{sign}1").repeat(7_000));
    for sql in [
        chain("+"),
        format!("SELECT id FROM \"flight-delay\" WHERE status = 1{}", " OR 1".repeat(3_000)),
        format!("SELECT {}1{} AS n", "(".repeat(5_000), ")".repeat(5_000)),
        format!("SELECT {} 1", "NOT ".repeat(3_500)),
        format!("SELECT 1 AS n {}", "UNION ALL SELECT 1 ".repeat(700)),
    ] {
        let refusal = asked.refusal(&sql);
        let expected = ["more than 200", "recursion limit", "Expected: end of statement"];
        assert!(expected.iter().any(|expected| refusal.contains(expected)), "{refusal}");
    }
    assert!(asked.refusal(&"x".repeat(20_000)).contains("longer than"));
}
