//! The flights: bundled, read once.

use anyhow::{Context as _, Result};
use flate2::read::GzDecoder;
use jiff::Timestamp;
use std::path::Path;
use steersman_domain::time::parse_time;

pub(crate) const MODEL: &str = "flight-delay";
const DATA: &[u8] = include_bytes!("../../data/demo_flights_nyc.csv.gz");
/// The columns that the model sees.
const FEATURES: [&str; 12] = [
    "carrier",
    "origin",
    "dest",
    "hour",
    "day_of_week",
    "distance",
    "plane_year",
    "temp",
    "humid",
    "wind_speed",
    "precip",
    "visib",
];
const TEXT: [&str; 3] = ["carrier", "origin", "dest"];

/// One departure.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    pub(crate) id: String,
    pub(crate) time: Timestamp,
    /// Cells of [`FEATURES`]; empty where the value is missing.
    pub(crate) cells: Vec<String>,
    /// Whether it arrived more than 15 minutes late.
    pub(crate) late: bool,
    /// When that was known.
    pub(crate) known: Timestamp,
}

/// The first version serves from here on.
pub(crate) fn start() -> Timestamp {
    jiff::civil::date(2013, 3, 1)
        .at(0, 0, 0, 0)
        .to_zoned(jiff::tz::TimeZone::UTC)
        .map_or(Timestamp::UNIX_EPOCH, |zoned| zoned.timestamp())
}

/// All departures of the year, in order of time.
pub(crate) fn load() -> Result<Vec<Flight>> {
    let mut reader = csv::Reader::from_reader(GzDecoder::new(DATA));
    let header = reader.headers()?.clone();
    let place = |name: &str| {
        header.iter().position(|column| column == name).with_context(|| format!("no column `{name}`"))
    };
    let (id, ts, label, label_ts) = (place("id")?, place("ts")?, place("label")?, place("label_ts")?);
    let features = FEATURES.iter().map(|name| place(name)).collect::<Result<Vec<_>>>()?;
    let mut flights = Vec::new();
    for record in reader.records() {
        let record = record?;
        flights.push(Flight {
            id: record[id].to_owned(),
            time: parse_time(&record[ts])?,
            cells: features.iter().map(|&place| record[place].to_owned()).collect(),
            late: &record[label] == "1",
            known: parse_time(&record[label_ts])?,
        });
    }
    flights.sort_by_key(|flight| flight.time);
    Ok(flights)
}

/// Writes what was known before the first version serves.
pub(crate) fn write_reference(folder: &Path, flights: &[Flight]) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut writer = csv::Writer::from_path(folder.join("reference.csv"))?;
    writer.write_record(["id", "ts"].into_iter().chain(FEATURES).chain(["late", "late_ts"]))?;
    for flight in flights.iter().filter(|flight| flight.known < start()) {
        let (time, known, late) =
            (flight.time.to_string(), flight.known.to_string(), u8::from(flight.late).to_string());
        let before = [flight.id.as_str(), time.as_str()];
        let cells = flight.cells.iter().map(String::as_str);
        writer.write_record(before.into_iter().chain(cells).chain([late.as_str(), known.as_str()]))?;
    }
    writer.flush()?;
    Ok(())
}

/// The command that trains, without its last arguments.
pub(crate) fn train_command(seed: u64) -> Result<Vec<String>> {
    let program = std::env::current_exe().context("this program does not know where it is")?;
    let words = ["learn-train", "--data", "{snapshot}", "--out", "{artifact}", "--label", "late", "--seed"];
    let mut command = vec![program.display().to_string()];
    command.extend(words.map(str::to_owned));
    command.push(seed.to_string());
    Ok(command)
}

/// The spec of the model: what a user would write.
pub(crate) fn spec(seed: u64) -> Result<String> {
    let train = serde_json::to_string(&train_command(seed)?)?;
    let program = serde_json::to_string(&std::env::current_exe()?.display().to_string())?;
    Ok(format!(
        r#"[model]
name = "{MODEL}"
team = "network-ops"
task = "binary"
prediction = "score"
label = {{ column = "late", expected_delay = "6h", time = "late_ts" }}

[data]
reference = "reference.csv"
time = "ts"
id = "id"
segments = ["origin"]

[watch]
window = "1d"
false_alarms = "1 per 30d"
performance = {{ metric = "brier", drop = 0.01 }}

[retrain]
command = {train}
format = "csv"
trigger = "2 of 7"
cooldown = "14d"
holdout = "14d"

[rollout]
stages = ["shadow 2d", "10% 1d", "50% 2d", "100%"]
guardrails = ["errors", "performance"]
loss_margin = 1.1
stage_timeout = "21d"
on_hold = "roll_back"

[serve]
command = [{program}, "learn-serve", "--model", "{{artifact}}", "--port", "{{port}}", "--name", "{{model}}", "--version", "{{version}}"]
"#
    ))
}

/// The request for one departure.
pub(crate) fn request(flight: &Flight) -> serde_json::Value {
    let tensor = |(name, cell): (&&str, &String)| {
        let text = TEXT.contains(name);
        let value = match cell.as_str() {
            "" => serde_json::Value::Null,
            cell if text => serde_json::Value::from(cell),
            cell => cell.parse::<f64>().map_or(serde_json::Value::Null, serde_json::Value::from),
        };
        serde_json::json!({
            "name": name, "shape": [1], "datatype": if text { "BYTES" } else { "FP64" }, "data": [value],
        })
    };
    let inputs: Vec<serde_json::Value> = FEATURES.iter().zip(&flight.cells).map(tensor).collect();
    serde_json::json!({"id": flight.id, "parameters": {"time": flight.time.to_string()}, "inputs": inputs})
}

/// The cells of one departure by name.
pub(crate) fn cells(flight: &Flight) -> std::collections::BTreeMap<&str, &str> {
    FEATURES.iter().copied().zip(flight.cells.iter().map(String::as_str)).collect()
}
