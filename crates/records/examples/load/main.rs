//! A load generator: sends records with 20 features over HTTP and says how many became durable, how fast, and at what cost.
//!
//! ```text
//! cargo run --release -p steersman-records --example load -- project load
//! steersman up --dir load/state --apply load/load.toml &
//! cargo run --release -p steersman-records --example load -- ndjson 127.0.0.1:7700 --pid $! --seconds 20
//! ```
//!
//! Formats: `ndjson`, `array`, `arrow`, `events` (CloudEvents of KServe's logger, two for each record). For a long run
//! `--every 30` says every 30 seconds how much memory the server holds (`VmRSS`, and the most so far, `VmHWM`), how many of
//! its records are acknowledged and how many bytes of the write-ahead log and of ids there are, one line of CSV each.
//! `benches/slow_disk.c` makes the disk slow:
//!
//! ```text
//! cc -O2 -shared -fPIC -o slow_disk.so benches/slow_disk.c -ldl
//! LD_PRELOAD=./slow_disk.so SLOW_DISK_MIB=20 steersman up --dir load/state --apply load/load.toml &
//! cargo run --release -p steersman-records --example load -- ndjson 127.0.0.1:7700 --pid $! --seconds 600 --every 30
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program for developers, which ends when something is odd"
)]

mod body;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const HELP: &str = "usage: load project FOLDER
       load ndjson|array|arrow|events ADDR:PORT [--rows 1000] [--connections 4] [--seconds 10] \
            [--pid SERVER [--every SECONDS]]";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["project", folder] => project(Path::new(folder)),
        [format @ ("ndjson" | "array" | "arrow" | "events"), address, options @ ..] => {
            let option = |name: &str, usual: u64| {
                let place = options.iter().position(|option| *option == name);
                place.and_then(|place| options.get(place + 1)?.parse().ok()).unwrap_or(usual)
            };
            run(&Plan {
                format: (*format).to_owned(),
                address: (*address).to_owned(),
                rows: option("--rows", if *format == "events" { 1 } else { 1_000 }),
                connections: option("--connections", 4),
                seconds: option("--seconds", 10),
                server: option("--pid", 0),
                every: option("--every", 0),
            });
        }
        _ => println!("{HELP}"),
    }
}

/// Writes a reference of 20 features and a spec that declares the model `load`.
fn project(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let names: Vec<String> = (0..20).map(|index| format!("f{index}")).collect();
    let mut text = format!("id,time,{},late\n", names.join(","));
    for row in 0..2_000u64 {
        let cells: Vec<String> = (0..20).map(|column| body::cell(row, column)).collect();
        let cells = cells.iter().map(|cell| cell.trim_matches('"')).collect::<Vec<_>>().join(",");
        text.push_str(&format!(
            "h{row},2026-01-{:02}T{:02}:00:00Z,{cells},{}\n",
            1 + row / 24 % 28,
            row % 24,
            row % 2
        ));
    }
    std::fs::write(folder.join("load.csv"), text).unwrap();
    let spec = "[model]\nname = \"load\"\ntask = \"binary\"\nprediction = \"score\"\n\
                label = { column = \"late\", expected_delay = \"1h\" }\n\n\
                [data]\nreference = \"load.csv\"\ntime = \"time\"\nid = \"id\"\n";
    std::fs::write(folder.join("load.toml"), spec).unwrap();
    println!("wrote {}", folder.join("load.toml").display());
}

struct Plan {
    format: String,
    address: String,
    rows: u64,
    connections: u64,
    seconds: u64,
    server: u64,
    /// Seconds between two looks at the server; 0 for none.
    every: u64,
}

/// What one connection did.
#[derive(Default)]
struct Done {
    acknowledged: u64,
    busy: u64,
    bytes: u64,
    latencies: Vec<Duration>,
}

fn run(plan: &Plan) {
    let before = cpu_seconds(plan.server);
    let began = Instant::now();
    let acknowledged = &AtomicU64::new(0);
    let done: Vec<Done> = std::thread::scope(|scope| {
        let connections: Vec<_> = (0..plan.connections)
            .map(|number| scope.spawn(move || connection(plan, number, acknowledged)))
            .collect();
        if plan.every > 0 {
            watch(plan, began, acknowledged);
        }
        connections.into_iter().map(|connection| connection.join().unwrap()).collect()
    });
    let seconds = began.elapsed().as_secs_f64();
    let rows: u64 = done.iter().map(|done| done.acknowledged).sum();
    let bytes: u64 = done.iter().map(|done| done.bytes).sum();
    let busy: u64 = done.iter().map(|done| done.busy).sum();
    let mut latencies: Vec<Duration> = done.into_iter().flat_map(|done| done.latencies).collect();
    latencies.sort();
    let quantile = |share: f64| {
        let place = (latencies.len() as f64 * share) as usize;
        latencies
            .get(place.min(latencies.len().saturating_sub(1)))
            .map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    println!(
        "{}: {rows} records in {seconds:.1} s = {:.0} a second, {:.1} MB/s, busy {busy}",
        plan.format,
        rows as f64 / seconds,
        bytes as f64 / seconds / 1e6
    );
    println!("acknowledged after p50 {:.1} ms, p99 {:.1} ms", quantile(0.5), quantile(0.99));
    if let (Some(before), Some(after)) = (before, cpu_seconds(plan.server)) {
        let cost = (after - before) / (rows as f64 / 1e6);
        println!("the server took {:.1} CPU s, {cost:.2} CPU s a million records", after - before);
    }
}

/// User and system time of a process, as Linux counts it.
fn cpu_seconds(pid: u64) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(ticks / 100.0)
}

/// Says how the server fares, until the time is over.
fn watch(plan: &Plan, began: Instant, acknowledged: &AtomicU64) {
    const METRICS: [&str; 4] = ["wal_bytes", "id_bytes", "id_tail_bytes", "ingest_in_flight_bytes"];
    println!("seconds,rss_mib,peak_rss_mib,records,{}", METRICS.join(","));
    for round in 0.. {
        let at = Duration::from_secs(plan.every * round);
        if at > Duration::from_secs(plan.seconds) {
            return;
        }
        std::thread::sleep(at.saturating_sub(began.elapsed()));
        let status = std::fs::read_to_string(format!("/proc/{}/status", plan.server)).unwrap_or_default();
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).map_or(0, |kib| kib >> 10)
        };
        let metrics = metrics(&plan.address);
        let sums = METRICS.map(|name| {
            let name = format!("steersman_{name}");
            let lines =
                metrics.lines().filter_map(|line| line.split_once(' ').zip(line.split(['{', ' ']).next()));
            let of_name = lines.filter(|(_, found)| *found == name);
            of_name.filter_map(|((_, value), _)| value.parse::<u64>().ok()).sum::<u64>().to_string()
        });
        let (rss, peak, records) = (mib("VmRSS"), mib("VmHWM"), acknowledged.load(Ordering::Relaxed));
        println!("{},{rss},{peak},{records},{}", at.as_secs(), sums.join(","));
    }
}

/// The server's own numbers.
fn metrics(address: &str) -> String {
    let mut text = String::new();
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn connection(plan: &Plan, number: u64, acknowledged: &AtomicU64) -> Done {
    let stream = TcpStream::connect(&plan.address).unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut reader, mut writer) = (BufReader::new(stream.try_clone().unwrap()), stream);
    let mut bodies = body::Bodies::new(&plan.format, plan.rows, number);
    let mut done = Done::default();
    let end = Instant::now() + Duration::from_secs(plan.seconds);
    while Instant::now() < end {
        let requests = bodies.next();
        let asked = Instant::now();
        let mut good = true;
        for (head, body) in &requests {
            let head = format!(
                "POST /api/v1/models/load/{head}\r\nhost: {}\r\ncontent-length: {}\r\n\r\n",
                plan.address,
                body.len()
            );
            writer.write_all(head.as_bytes()).unwrap();
            writer.write_all(body).unwrap();
            done.bytes += body.len() as u64;
            let status = answer(&mut reader);
            match status {
                200 | 202 => {}
                429 | 503 | 507 => {
                    good = false;
                    done.busy += 1;
                    std::thread::sleep(Duration::from_millis(20));
                }
                other => panic!("the answer is {other}"),
            }
        }
        done.latencies.push(asked.elapsed());
        if good {
            done.acknowledged += plan.rows;
            acknowledged.fetch_add(plan.rows, Ordering::Relaxed);
        }
    }
    done
}

/// Reads an answer to its end; its status.
fn answer(reader: &mut BufReader<TcpStream>) -> u16 {
    let (mut status, mut length, mut line) = (0, 0, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(rest) = line.strip_prefix("http/1.1 ") {
            status = rest.split(' ').next().unwrap().parse().unwrap();
        } else if let Some(rest) = line.strip_prefix("content-length:") {
            length = rest.trim().parse().unwrap();
        } else if line.is_empty() {
            break;
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink()).unwrap();
    status
}
