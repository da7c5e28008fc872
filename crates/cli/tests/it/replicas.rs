//! Three replicas of the real binary on one Postgres: one decides, and when it is killed or stopped another goes on.

use crate::platform::{Up, champion, project, record};
use crate::{run, steersman};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// The URL of an empty schema; none, with a message, where there is no Postgres.
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn database() -> Option<String> {
    let Ok(url) = std::env::var("STEERSMAN_TEST_POSTGRES") else {
        println!("skipped: STEERSMAN_TEST_POSTGRES names no database; `cargo xtask test` starts one");
        return None;
    };
    let schema = format!("replicas_{}", std::process::id());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let sql = format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
    let joint = if url.contains('?') { '&' } else { '?' };
    Some(format!("{url}{joint}options=-csearch_path%3D{schema}"))
}

/// Writes the configuration of a replica.
fn configure(folder: &Path, name: &str, database: &str, spec: &Path) -> PathBuf {
    let path = folder.join(name).join("steersman.toml");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let text = format!(
        "dir = 'state'\napply = ['{}']\n\
         [server]\nname = '{name}'\nlisten = '127.0.0.1:0'\ngateway_listen = '127.0.0.1:0'\n\
         [store]\ndatabase = '{database}'\nkey_file = '../ledger.key'\nlease = '3s'\n\
         [artifacts]\nlocation = '../artifacts'\n",
        spec.display()
    );
    fs::write(&path, text).unwrap();
    path
}

fn start(config: &Path) -> Up {
    let mut command = steersman(&["up", "--config"]);
    command.arg(config);
    Up::from(command)
}

/// What was seen of who leads, one look after the other.
#[derive(Default)]
struct Seen {
    looks: usize,
    /// Terms and their leaders, in the order in which they were seen.
    leaders: Vec<(u64, String)>,
}

/// Looks again and again at all replicas, and notes who says that it leads.
struct Lookout {
    stop: Arc<AtomicBool>,
    pages: Arc<Mutex<BTreeSet<String>>>,
    looking: Option<JoinHandle<Seen>>,
}

impl Lookout {
    fn new() -> Self {
        let (stop, pages) =
            (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(BTreeSet::<String>::new())));
        let (stopped, known) = (stop.clone(), pages.clone());
        let looking = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let client = reqwest::Client::builder().timeout(Duration::from_millis(300)).build().unwrap();
            let mut seen = Seen::default();
            while !stopped.load(Ordering::SeqCst) {
                let pages: Vec<String> = known.lock().unwrap().iter().cloned().collect();
                for page in pages {
                    let look = async {
                        client.get(format!("{page}/readyz")).send().await.ok()?.json::<Value>().await.ok()
                    };
                    let Some(look) = runtime.block_on(look) else { continue };
                    seen.looks += 1;
                    if look["role"] == "leader" {
                        let leader = (
                            look["leader"]["term"].as_u64().unwrap(),
                            look["replica"].as_str().unwrap().to_owned(),
                        );
                        if seen.leaders.last() != Some(&leader) {
                            seen.leaders.push(leader);
                        }
                    }
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            seen
        });
        Self { stop, pages, looking: Some(looking) }
    }

    fn at(&self, up: &Up) {
        self.pages.lock().unwrap().insert(up.page.clone());
    }

    fn finish(mut self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        self.looking.take().unwrap().join().unwrap()
    }
}

fn ready(up: &Up) -> Value {
    up.call(reqwest::Method::GET, &format!("{}/readyz", up.page), "application/json", String::new()).1
}

/// Waits until one of them leads, and says which.
fn leader(replicas: &BTreeMap<&str, Up>) -> String {
    for _ in 0..600 {
        for (name, up) in replicas {
            if ready(up)["role"] == "leader" {
                return (*name).to_owned();
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("nobody leads");
}

fn signal(up: &Up, name: &str) {
    assert!(Command::new("kill").args([name, &up.child.id().to_string()]).status().unwrap().success());
}

fn entries(up: &Up) -> Vec<Value> {
    let entries: Vec<Value> = up.get("/ledger/entries?limit=1000").as_array().unwrap().clone();
    assert!(entries.len() < 1_000);
    entries
}

#[test]
fn of_three_replicas_one_decides_and_another_goes_on_when_it_is_killed_or_stopped() {
    let Some(database) = database() else { return };
    let (dir, spec) = project(None);
    let patient = fs::read_to_string(&spec).unwrap().replace("timeout='2s'", "timeout='60s'");
    fs::write(&spec, patient).unwrap();
    let names = ["a", "b", "c"];
    let configs = names.map(|name| configure(dir.path(), name, &database, &spec));
    let config = |name: &str| &configs[names.iter().position(|known| *known == name).unwrap()];
    let lookout = Lookout::new();
    // All at once: they make the key, the tables and the first leader.
    let starting = std::thread::scope(|scope| {
        let started = configs.each_ref().map(|config| scope.spawn(|| start(config)));
        started.map(|up| up.join().unwrap())
    });
    let mut replicas: BTreeMap<&str, Up> = names.into_iter().zip(starting).collect();
    replicas.values().for_each(|up| lookout.at(up));
    // The first leader is killed in the midst of its first training.
    let first = leader(&replicas);
    replicas[first.as_str()]
        .wait("a run", |up| up.get("/models/churn")["state"]["runs"][0]["run"].as_str().map(drop));
    replicas.remove(first.as_str()).unwrap().kill();
    // Those that stand by take telemetry in, show what they follow, and say whom to ask.
    let second = leader(&replicas);
    let third = *replicas.keys().find(|name| **name != second).unwrap();
    assert_eq!(replicas[second.as_str()].wait("a champion", champion), "v1");
    let standby = &replicas[third];
    assert_eq!(standby.wait("what the leader wrote", champion), "v1");
    let (status, reply) = standby.lines("/models/churn/records", &record("r1"));
    assert_eq!((status, &reply["accepted"]), (200, &json!(1)));
    let (status, reply) = standby.post("/reports/health", &json!({}));
    assert_eq!(status, 503);
    assert!(reply["hint"].as_str().unwrap().contains(&replicas[second.as_str()].page), "{reply}");
    let (code, out, _) = run(&["status", "--server", &standby.page]);
    assert!(code == 0 && out.contains(&format!("{third} stands by; {second} leads: http://")), "{out}");
    // The second leader is stopped, as by a machine that hangs, and comes back when another one leads.
    signal(&replicas[second.as_str()], "-STOP");
    replicas[third].wait("the lead", |up| (ready(up)["role"] == "leader").then_some(()));
    let written = entries(&replicas[third]).len();
    signal(&replicas[second.as_str()], "-CONT");
    replicas[second.as_str()]
        .wait("standing by", |up| (ready(up)["leader"]["replica"] == third).then_some(()));
    let (status, _) = replicas[second.as_str()].post("/reports/health", &json!({}));
    assert_eq!(status, 503);
    // The first one comes back and follows.
    let again = start(config(&first));
    lookout.at(&again);
    assert_eq!((ready(&again)["role"].as_str(), champion(&again).as_deref()), (Some("standby"), Some("v1")));
    // The leader serves.
    let infer = json!({"id": "call-1", "inputs": [
        {"name": "calls", "shape": [1], "datatype": "FP64", "data": [9]},
        {"name": "plan", "shape": [1], "datatype": "BYTES", "data": ["a"]},
    ]});
    let url = format!("{}/v2/models/churn/infer", replicas[third].gateway);
    replicas[third].wait("an answer", |up| {
        let (status, _) = up.call(reqwest::Method::POST, &url, "application/json", infer.to_string());
        (status == 200).then_some(())
    });
    let facts = entries(&replicas[third]);
    assert!(facts.len() >= written);
    // Ended with Ctrl-C, the leader lets go at once.
    drop(replicas.remove(third));
    replicas.insert("again", again);
    leader(&replicas);
    let last = entries(replicas.values().next().unwrap());
    let seen = lookout.finish();
    drop(replicas);
    // One leader a term, and terms only rise.
    assert!(seen.looks > 50 && seen.leaders.len() >= 4, "{} looks: {:?}", seen.looks, seen.leaders);
    assert!(seen.leaders.is_sorted_by(|a, b| a.0 < b.0), "{:?}", seen.leaders);
    let terms: Vec<u64> = last.iter().filter_map(|entry| entry["fact"]["term"].as_u64()).collect();
    assert_eq!(terms, (1..=terms.len() as u64).collect::<Vec<_>>());
    // No fact twice, nothing of what was there is gone, and every byte is as it was signed.
    assert_eq!(facts[..], last[..facts.len()]);
    let once = [
        "model.declared",
        "reference.learnt",
        "run.requested",
        "snapshot.taken",
        "run.finished",
        "version.registered",
        "champion.changed",
    ];
    for kind in once {
        let found: Vec<&Value> =
            last.iter().map(|entry| &entry["fact"]).filter(|fact| fact["kind"] == kind).collect();
        let runs: BTreeSet<String> = found.iter().map(|fact| fact["run"].to_string()).collect();
        assert!(!found.is_empty() && found.len() == runs.len(), "{kind}: {found:?}");
    }
    for config in &configs {
        let (code, out, err) = run(&["verify", "log", "--config", config.to_str().unwrap()]);
        assert_eq!(code, 0, "{out}{err}");
    }
}

#[test]
fn a_wrong_configuration_is_refused_by_key_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("steersman.toml");
    let refusal = |text: &str| {
        fs::write(&file, text).unwrap();
        let (code, _, err) = run(&["up", "--dir", dir.path().to_str().unwrap(), "--listen", "127.0.0.1:0"]);
        assert_eq!(code, 2, "{err}");
        assert!(err.contains("steersman.toml") || err.contains("records.location"), "{err}");
        err
    };
    let err = refusal("[server]\nlisten = '127.0.0.1:0'\nport = 7\n");
    assert!(err.contains("server.port (line 3): unknown field `port`"), "{err}");
    let err = refusal("[store]\ndatabase = 'postgre://ada:geheim@db/x'\n");
    assert!(err.contains("store.database (line 2)") && !err.contains("geheim"), "{err}");
    let err = refusal("[store]\ndatabase = postgres://ada:geheim@db/x\n");
    assert!(err.contains("line 2") && !err.contains("geheim"), "{err}");
    let err = refusal("[records]\nlocation = 's3://team/models'\n");
    assert!(err.contains("not supported yet"), "{err}");
}
