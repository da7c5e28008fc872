//! Bodies of 20 features: 16 numbers, three categories, one flag. All but ids and times is made once.

use arrow::array::BooleanArray;
use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema};
use arrow::ipc::writer::StreamWriter;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The value of a column in a row, as JSON.
pub(crate) fn cell(row: u64, column: u64) -> String {
    let mixed = row
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(column.wrapping_mul(1_442_695_040_888_963_407));
    match column {
        0..=15 => format!("{:.4}", (mixed >> 40) as f64 / 1_000.0),
        16..=18 => format!("\"c{}\"", (mixed >> 33) % 40),
        _ => (mixed >> 33).is_multiple_of(2).to_string(),
    }
}

/// A request's path with its headers, and its body.
pub(crate) type Request = (String, Vec<u8>);

/// Bodies one after the other, each with ids of its own.
pub(crate) struct Bodies {
    format: String,
    rows: u64,
    connection: u64,
    run: u64,
    batch: u64,
    /// What follows id and time in each row, as JSON.
    rests: Vec<String>,
    columns: Vec<(String, ArrayRef)>,
}

impl Bodies {
    pub(crate) fn new(format: &str, rows: u64, connection: u64) -> Self {
        let json = |row: u64| {
            let cells: Vec<String> =
                (0..20).map(|column| format!("\"f{column}\":{}", cell(row, column))).collect();
            format!(
                "\"version\":\"v1\",\"features\":{{{}}},\"score\":0.25,\"latency_ms\":1.5,\"status\":200}}",
                cells.join(",")
            )
        };
        let column = |column: u64| -> ArrayRef {
            let cells = (0..rows).map(|row| cell(row, column));
            match column {
                0..=15 => Arc::new(cells.map(|cell| cell.parse::<f64>().unwrap()).collect::<Float64Array>()),
                16..=18 => Arc::new(StringArray::from_iter_values(
                    cells.map(|cell| cell.trim_matches('"').to_owned()),
                )),
                _ => Arc::new(cells.map(|cell| Some(cell == "true")).collect::<BooleanArray>()),
            }
        };
        Self {
            format: format.to_owned(),
            rows,
            connection,
            run: micros() % 1_000_000_000,
            batch: 0,
            rests: (0..rows).map(json).collect(),
            columns: (0..20).map(|index| (format!("f{index}"), column(index))).collect(),
        }
    }

    pub(crate) fn next(&mut self) -> Vec<Request> {
        self.batch += 1;
        let (run, connection, batch) = (self.run, self.connection, self.batch);
        let id = |row: usize| format!("{run}-{connection}-{batch}-{row}");
        match self.format.as_str() {
            "arrow" => {
                let rows = self.rows as usize;
                let ids: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(id)));
                let times = TimestampMicrosecondArray::from_value(micros() as i64, rows).with_timezone("UTC");
                let mut columns =
                    vec![("id".to_owned(), ids), ("time".to_owned(), Arc::new(times) as ArrayRef)];
                columns.push(("score".to_owned(), Arc::new(Float64Array::from_value(0.25, rows))));
                columns.extend(self.columns.iter().cloned());
                let fields: Vec<Field> = columns
                    .iter()
                    .map(|(name, column)| Field::new(name, column.data_type().clone(), true))
                    .collect();
                let columns = columns.into_iter().map(|(_, column)| column).collect();
                let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
                let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
                writer.write(&batch).unwrap();
                let body = writer.into_inner().unwrap();
                vec![(head("records", "application/vnd.apache.arrow.stream"), body)]
            }
            "events" => {
                let event = |kind: &str, body: String| {
                    let head = head("events", "application/json");
                    let head = format!(
                        "{head}\r\nce-specversion: 1.0\r\nce-id: {}\r\nce-source: load\r\n\
                         ce-type: org.kubeflow.serving.inference.{kind}\r\nce-time: {}",
                        id(0),
                        time()
                    );
                    (head, body.into_bytes())
                };
                let cells: Vec<String> =
                    (0..20).map(|column| format!("\"f{column}\":{}", cell(batch % 1_000, column))).collect();
                let request = format!("{{\"instances\":[{{{}}}]}}", cells.join(","));
                vec![event("request", request), event("response", "{\"predictions\":[0.25]}".to_owned())]
            }
            format => {
                let time = time();
                let mut body = String::with_capacity(self.rests.iter().map(|rest| rest.len() + 80).sum());
                for (row, rest) in self.rests.iter().enumerate() {
                    body.push_str(match (format, row) {
                        ("array", 0) => "[",
                        ("array", _) => ",",
                        _ => "",
                    });
                    let _ = write!(body, "{{\"id\":\"{}\",\"time\":\"{time}\",{rest}", id(row));
                    body.push('\n');
                }
                if format == "array" {
                    body.push(']');
                    return vec![(head("records", "application/json"), body.into_bytes())];
                }
                vec![(head("records", "application/x-ndjson"), body.into_bytes())]
            }
        }
    }
}

fn head(path: &str, kind: &str) -> String {
    format!("{path} HTTP/1.1\r\ncontent-type: {kind}")
}

#[expect(clippy::disallowed_methods, reason = "the sender's clock")]
fn micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

fn time() -> String {
    jiff::Timestamp::from_microsecond(micros() as i64).unwrap().to_string()
}
