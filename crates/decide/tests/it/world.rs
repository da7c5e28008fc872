//! A small world: a ledger, effects that it counts, and an engine that can be killed between any two steps.
//!
//! Only the ledger and the world's own records survive a kill. What the engine holds in memory (the fold, the judge) is
//! made again from them.

use jiff::Timestamp;
use std::collections::BTreeMap;
use steersman_decide::{Judge, ModelObservation, Observations, WindowStatus, decide};
use steersman_domain::fact::{Estimate, Evaluation, RunTask};
use steersman_domain::record::Arm;
use steersman_domain::schema::{Column, ColumnKind};
use steersman_domain::time::{from_micros, micros};
use steersman_domain::{
    Actor, Digest, Entry, Fact, Label, ModelName, ModelSpec, Period, Record, RunId, Schema, Value, Version,
    Window,
};
use steersman_ledger::State;

pub(crate) const DAY: i64 = 86_400_000_000;

/// What the world is like.
#[derive(Debug, Clone)]
pub(crate) struct Nature {
    /// Chance that the champion's prediction is wrong.
    pub(crate) champion_wrong: f64,
    /// Chance that a candidate's is.
    pub(crate) candidate_wrong: f64,
    /// Days whose performance is bad.
    pub(crate) bad_days: std::ops::Range<i64>,
    /// Whether trainings fail.
    pub(crate) training_fails: bool,
}

/// Everything that survives a kill.
pub(crate) struct World {
    pub(crate) nature: Nature,
    pub(crate) ledger: Vec<Entry>,
    pub(crate) now: i64,
    arrivals: Vec<(i64, Result<Record, Label>)>,
    /// How often each training program was run to its end, by run. Its artefact is on disk from then on, and is found by
    /// whoever is asked for the run again.
    pub(crate) trainings: BTreeMap<RunId, u32>,
    /// What the gateway does: the candidate's weight.
    weight: Option<(Version, f64, bool)>,
}

/// What lives in memory and dies with the process.
pub(crate) struct Process {
    pub(crate) state: State,
    judge: Option<(String, Judge, usize)>,
    /// The job whose effect was carried out and whose outcome is not written yet.
    job: Option<RunId>,
}

pub(crate) fn name() -> ModelName {
    "m".parse().unwrap()
}

pub(crate) fn spec(extra: &str) -> ModelSpec {
    ModelSpec::parse(&format!(
        "[model]\nname='m'\ntask='binary'\nprediction='p'\nlabel={{column='y'}}\n[data]\nreference='r'\ntime='t'\n\
         [retrain]\ncommand=['train','{{snapshot}}','{{artifact}}']\ntrigger='2 of 5'\ncooldown='5d'\n\
         [serve]\ncommand=['serve','{{artifact}}','{{port}}']\n\
         [rollout]\nstages=['shadow 1d','20%','50% 1d','100%']\n{extra}"
    ))
    .unwrap()
}

/// A number in `[0, 1)` that depends on its arguments alone.
fn chance(what: &str, index: i64) -> f64 {
    let digest = Digest::of(format!("{what}{index}").as_bytes());
    let number = u64::from_str_radix(&digest.as_str()[7..20], 16).unwrap();
    number as f64 / (1u64 << 52) as f64
}

impl World {
    pub(crate) fn new(nature: Nature, spec: ModelSpec) -> Self {
        let mut world = Self {
            nature,
            ledger: Vec::new(),
            now: 30 * DAY,
            arrivals: Vec::new(),
            trainings: BTreeMap::new(),
            weight: None,
        };
        let column = |name: &str| Column { name: name.to_owned(), kind: ColumnKind::Numeric };
        let schema = Schema { features: vec![column("x")], prediction: column("p"), label: column("y") };
        let at = |day: i64| from_micros(day * DAY);
        world.write(Fact::ModelDeclared { model: name(), spec: Box::new(spec), folder: "/".to_owned() });
        let digest = Digest::of(b"reference");
        world.write(Fact::ReferenceLearnt {
            model: name(),
            digest,
            rows: 900,
            labelled: 900,
            from: at(0),
            to: at(30),
            schema,
        });
        world
    }

    pub(crate) fn now(&self) -> Timestamp {
        from_micros(self.now)
    }

    pub(crate) fn write(&mut self, fact: Fact) {
        let actor = Actor::Platform("test".to_owned());
        let entry =
            Entry { seq: self.ledger.len() as u64, time: self.now(), actor, because: Vec::new(), fact };
        self.ledger.push(entry);
    }

    pub(crate) fn kinds(&self) -> Vec<&'static str> {
        self.ledger.iter().map(|entry| entry.fact.kind()).collect()
    }

    /// Six hours pass: twenty requests with their labels.
    pub(crate) fn pass(&mut self) {
        self.now += DAY / 4;
        for request in 0..20 {
            let index = self.now / (DAY / 4) * 100 + request;
            let id: steersman_domain::RecordId = format!("r{index}").parse().unwrap();
            let truth = chance("truth", index) < 0.5;
            let answer = |wrong: f64, who: &str| {
                let right = chance(who, index) >= wrong;
                if truth == right { 0.9 } else { 0.1 }
            };
            let candidate = self.weight.filter(|(_, weight, _)| chance("split", index) < *weight);
            let record = |arm: Arm, weight: f64, output: f64| Record {
                id: id.clone(),
                time: from_micros(self.now),
                version: None,
                arm: Some(arm),
                weight: Some(weight),
                unit: Some(index.cast_unsigned()),
                features: BTreeMap::new(),
                outputs: BTreeMap::from([("p".to_owned(), Value::Number(output))]),
                latency_ms: None,
                status: Some(200),
            };
            let weight = self.weight.map_or(0.0, |(_, weight, _)| weight);
            let (champion_wrong, candidate_wrong) = (self.nature.champion_wrong, self.nature.candidate_wrong);
            let served = match candidate {
                Some(_) => record(Arm::Candidate, weight, answer(candidate_wrong, "candidate")),
                None => record(Arm::Champion, weight, answer(champion_wrong, "champion")),
            };
            self.arrivals.push((self.now, Ok(served)));
            if self.weight.is_some_and(|(_, _, mirror)| mirror) {
                self.arrivals
                    .push((self.now, Ok(record(Arm::Shadow, 0.0, answer(candidate_wrong, "candidate")))));
            }
            let label =
                Label { id, label: Value::Number(f64::from(u8::from(truth))), time: from_micros(self.now) };
            self.arrivals.push((self.now, Err(label)));
        }
    }
}

impl Process {
    /// Starts on what the world has kept.
    pub(crate) fn start(world: &World) -> Self {
        Self { state: State::fold(&world.ledger).unwrap(), judge: None, job: None }
    }

    fn observe(&mut self, world: &World) -> Observations {
        let model = self.state.model(&name()).unwrap();
        let rollout = model.active_rollout();
        match (rollout, &self.judge) {
            (None, _) => self.judge = None,
            (Some(rollout), Some((id, _, _))) if *id == rollout.rollout.to_string() => {}
            (Some(rollout), _) => {
                self.judge = Some((rollout.rollout.to_string(), Judge::new(&model.spec, &rollout.plan), 0));
            }
        }
        if let (Some((_, judge, seen)), Some(rollout)) = (&mut self.judge, rollout) {
            let began = micros(rollout.started_at);
            for (at, arrival) in &world.arrivals[*seen..] {
                match arrival {
                    _ if *at < began => {}
                    Ok(record) => judge.record(record),
                    Err(label) => judge.label(label),
                }
            }
            *seen = world.arrivals.len();
        }
        let windows = (30..world.now / DAY).map(|day| WindowStatus {
            window: Window::holding(from_micros(day * DAY), Period::from_days(1)),
            violated: world.nature.bad_days.contains(&day),
        });
        let observation = ModelObservation {
            windows: windows.collect(),
            history_from: Some(from_micros(0)),
            labelled_until: Some(from_micros(world.now)),
            verdict: self.judge.as_ref().map(|(_, judge, _)| judge.verdict()),
            tripped: None,
            exposed: self.judge.as_ref().map_or(0, |(_, judge, _)| judge.exposed()),
            latency_p99_ms: None,
        };
        Observations { models: BTreeMap::from([(name(), observation)]) }
    }

    /// One step; returns whether there was one: decide and write, carry a job out, or write what came of it.
    pub(crate) fn step(&mut self, world: &mut World) -> bool {
        let observations = self.observe(world);
        let intents = decide(&self.state, &observations, world.now());
        if !intents.is_empty() {
            for intent in intents {
                world.write(intent.fact);
            }
            self.fold(world);
            return true;
        }
        self.route(world);
        let model = self.state.model(&name()).unwrap();
        let Some(run) = model.pending_runs().next().cloned() else { return false };
        if self.job.as_ref() != Some(&run.run) {
            if matches!(run.task, RunTask::Train { .. }) && !world.trainings.contains_key(&run.run) {
                *world.trainings.entry(run.run.clone()).or_default() += 1;
            }
            self.job = Some(run.run);
            return true;
        }
        let estimate = |value: f64| Estimate { value, low: value - 0.01, high: value + 0.01 };
        match run.task {
            RunTask::Train { .. } => {
                if world.nature.training_fails {
                    let reason = "no".to_owned();
                    world.write(Fact::RunFailed { model: name(), run: run.run, reason, hint: String::new() });
                } else {
                    let version = model.next_version();
                    let metrics = BTreeMap::new();
                    world.write(Fact::RunFinished {
                        model: name(),
                        run: run.run.clone(),
                        seconds: 1.0,
                        metrics,
                    });
                    world.write(Fact::VersionRegistered {
                        model: name(),
                        version,
                        artifact: Digest::of(version.to_string().as_bytes()),
                        run: Some(run.run),
                        snapshot: None,
                        trained_until: Some(world.now()),
                        note: String::new(),
                    });
                }
            }
            RunTask::Evaluate { version, .. } => {
                let champion = model.champion();
                let evaluation = Evaluation {
                    rows: 500,
                    metric: "brier".to_owned(),
                    candidate: estimate(0.15),
                    champion: champion.map(|_| estimate(0.2)),
                    loss: estimate(0.15),
                    difference: champion.map(|_| estimate(-0.05)),
                    segments: BTreeMap::new(),
                };
                world.write(Fact::EvaluationFinished {
                    model: name(),
                    run: run.run.clone(),
                    version,
                    evaluation,
                });
                let metrics = BTreeMap::new();
                world.write(Fact::RunFinished { model: name(), run: run.run, seconds: 1.0, metrics });
            }
        }
        self.fold(world);
        true
    }

    fn fold(&mut self, world: &World) {
        let known = usize::try_from(self.state.size).unwrap();
        world.ledger[known..].iter().for_each(|entry| self.state.apply(entry).unwrap());
    }

    /// Tells the gateway what the state wants: an effect that can be repeated at will.
    fn route(&self, world: &mut World) {
        let model = self.state.model(&name()).unwrap();
        world.weight = model.active_rollout().and_then(|rollout| {
            let stage = rollout.current_stage()?;
            Some((rollout.candidate, stage.weight, stage.mirror))
        });
    }
}

/// Lets time pass for so many days; `kill` says before which steps the process dies.
pub(crate) fn live(world: &mut World, days: i64, mut kill: impl FnMut(u64) -> bool) -> State {
    let mut process = Process::start(world);
    let mut step = 0;
    for _ in 0..days * 4 {
        world.pass();
        loop {
            step += 1;
            if kill(step) {
                process = Process::start(world);
            }
            if !process.step(world) {
                break;
            }
        }
    }
    process.state
}
