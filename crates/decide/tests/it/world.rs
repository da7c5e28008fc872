//! A small world: a ledger, effects that it counts, and an engine that can be killed between any two steps.
//!
//! Only the ledger and the world's own records survive a kill. What the engine holds in memory (the fold, the judge) is
//! made again from them. Every effect can fail: a commit is refused or its answer is lost, the gateway is told too late or
//! twice, a job is started twice; records come twice.

use jiff::Timestamp;
use std::collections::BTreeMap;
use steersman_decide::rollout::{Judged, beside};
use steersman_decide::{Judge, ModelObservation, Observations, WindowStatus, decide};
use steersman_domain::fact::{Estimate, Evaluation, RolloutCommand, RunTask};
use steersman_domain::record::Arm;
use steersman_domain::schema::{Column, ColumnKind};
use steersman_domain::time::{from_micros, micros};
use steersman_domain::{
    Actor, Digest, Entry, Fact, Label, ModelName, ModelSpec, Period, Record, RolloutId, RunId, Schema, Value,
    Version, Window,
};
use steersman_ledger::State;
use steersman_ledger::state::RouteState;

pub(crate) const DAY: i64 = 86_400_000_000;

/// What the world is like.
#[derive(Debug, Clone)]
pub(crate) struct Nature {
    /// Chance that the first version's prediction is wrong.
    pub(crate) champion_wrong: f64,
    /// Chance that a later one's is.
    pub(crate) candidate_wrong: f64,
    /// The same from the day after its promotion on.
    pub(crate) promoted_wrong: f64,
    /// Days whose performance is bad.
    pub(crate) bad_days: std::ops::Range<i64>,
    /// Whether trainings fail.
    pub(crate) training_fails: bool,
    /// What people do: when, counted in quarters of a day, and what.
    pub(crate) people: Vec<(u32, RolloutCommand)>,
    /// What people answer, a day after they are asked; nothing if none.
    pub(crate) answers: Option<bool>,
}

impl Default for Nature {
    fn default() -> Self {
        Self {
            champion_wrong: 0.4,
            candidate_wrong: 0.15,
            promoted_wrong: 0.15,
            bad_days: 33..200,
            training_fails: false,
            people: Vec::new(),
            answers: None,
        }
    }
}

/// What goes wrong with the effects of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The ledger cannot be written.
    Refused,
    /// It was written, and the answer was lost.
    LostReply,
    /// The effect did not happen in time.
    TimedOut,
    /// The effect happened twice.
    Twice,
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
    /// What the gateway does.
    pub(crate) route: Option<RouteState>,
    /// By step.
    pub(crate) faults: BTreeMap<u64, Fault>,
    /// Whether records come twice and out of order.
    pub(crate) disorder: bool,
    step: u64,
    quarter: u32,
}

/// What lives in memory and dies with the process.
pub(crate) struct Process {
    pub(crate) state: State,
    judge: Option<((RolloutId, bool), Judge, usize)>,
    /// The job whose effect was carried out and whose outcome is not written yet.
    job: Option<RunId>,
}

pub(crate) fn name() -> ModelName {
    "m".parse().unwrap()
}

/// A spec with these lines of `[rollout]`.
pub(crate) fn spec(rollout: &str) -> ModelSpec {
    let stages =
        if rollout.contains("stages=") { "" } else { "stages=['shadow 1d','20%','50% 1d','100%']\n" };
    ModelSpec::parse(&format!(
        "[model]\nname='m'\ntask='binary'\nprediction='p'\nlabel={{column='y', expected_delay='1h'}}\n\
         [data]\nreference='r'\ntime='t'\n\
         [retrain]\ncommand=['train','{{snapshot}}','{{artifact}}']\ntrigger='2 of 5'\ncooldown='5d'\n\
         [serve]\ncommand=['serve','{{artifact}}','{{port}}']\n[rollout]\n{stages}{rollout}"
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
            route: None,
            faults: BTreeMap::new(),
            disorder: false,
            step: 0,
            quarter: 0,
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
        self.write_by(Actor::Platform("test".to_owned()), fact);
    }

    fn write_by(&mut self, actor: Actor, fact: Fact) {
        let entry =
            Entry { seq: self.ledger.len() as u64, time: self.now(), actor, because: Vec::new(), fact };
        self.ledger.push(entry);
    }

    pub(crate) fn kinds(&self) -> Vec<&'static str> {
        self.ledger.iter().map(|entry| entry.fact.kind()).collect()
    }

    fn fault(&mut self) -> Option<Fault> {
        let step = self.step;
        self.faults.remove(&step)
    }

    /// Six hours pass: twenty requests with their labels, and what people do.
    pub(crate) fn pass(&mut self) {
        self.now += DAY / 4;
        self.quarter += 1;
        self.people();
        let Some(route) = self.route else { return };
        let mut came = Vec::new();
        for request in 0..20 {
            let index = self.now / (DAY / 4) * 100 + request;
            let id: steersman_domain::RecordId = format!("r{index}").parse().unwrap();
            let truth = chance("truth", index) < 0.5;
            let answer = |version: Version| {
                let right = chance(&version.to_string(), index) >= self.wrong(version);
                if truth == right { 0.9 } else { 0.1 }
            };
            let record = |arm: Arm, weight: f64, version: Version| Record {
                id: id.clone(),
                time: from_micros(self.now),
                version: Some(version.to_string()),
                arm: Some(arm),
                weight: Some(weight),
                unit: Some(index.cast_unsigned()),
                features: BTreeMap::new(),
                outputs: BTreeMap::from([("p".to_owned(), Value::Number(answer(version)))]),
                latency_ms: None,
                status: Some(200),
            };
            let beside = route.candidate;
            let taken = beside.filter(|_| chance("split", index) < route.weight);
            came.push(Ok(match taken {
                Some(candidate) => record(Arm::Candidate, route.weight, candidate),
                None => record(Arm::Champion, route.weight, route.champion),
            }));
            if let Some(beside) = beside.filter(|_| route.mirror) {
                came.push(Ok(record(Arm::Shadow, 0.0, beside)));
            }
            let label =
                Label { id, label: Value::Number(f64::from(u8::from(truth))), time: from_micros(self.now) };
            came.push(Err(label));
        }
        if self.disorder {
            came.extend(came.clone());
            let order = |place: &usize| (chance("order", self.now + *place as i64) * 1e9) as u64;
            let mut places: Vec<usize> = (0..came.len()).collect();
            places.sort_by_cached_key(order);
            came = places.into_iter().map(|place| came[place].clone()).collect();
        }
        self.arrivals.extend(came.into_iter().map(|arrival| (self.now, arrival)));
    }

    /// How often a version is wrong now.
    fn wrong(&self, version: Version) -> f64 {
        let promoted = self.ledger.iter().find_map(|entry| match &entry.fact {
            Fact::ChampionChanged { version: promoted, previous: Some(_), .. } if *promoted == version => {
                Some(micros(entry.time))
            }
            _ => None,
        });
        match promoted {
            _ if version == Version(1) => self.nature.champion_wrong,
            Some(at) if self.now > at => self.nature.promoted_wrong,
            _ => self.nature.candidate_wrong,
        }
    }

    fn people(&mut self) {
        let state = State::fold(&self.ledger).unwrap();
        let Ok(model) = state.model(&name()) else { return };
        let person = Actor::Person("ada".to_owned());
        if let Some(approved) = self.nature.answers {
            let due = model.open_approvals().find(|(_, asked)| micros(asked.requested_at) + DAY <= self.now);
            if let Some((rollout, asked)) = due {
                let fact = Fact::ApprovalDecided {
                    model: name(),
                    rollout: rollout.rollout.clone(),
                    step: asked.step,
                    artifact: asked.artifact.clone(),
                    approved,
                    reason: String::new(),
                };
                self.write_by(person.clone(), fact);
            }
        }
        let wanted: Vec<RolloutCommand> =
            self.nature.people.iter().filter(|(at, _)| *at == self.quarter).map(|(_, what)| *what).collect();
        let rollout = model.active_rollout().or_else(|| model.guarded_rollout().map(|(rollout, _)| rollout));
        for command in wanted {
            let Some(rollout) = rollout else { continue };
            let fact = Fact::RolloutSteered {
                model: name(),
                rollout: rollout.rollout.clone(),
                command,
                artifact: model.versions[&rollout.candidate].artifact.clone(),
                reason: "so be it".to_owned(),
            };
            self.write_by(person.clone(), fact);
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
        let judged = Judged::of(model);
        let key = judged.map(|judged| judged.key());
        if self.judge.as_ref().map(|(key, _, _)| key) != key.as_ref() {
            self.judge = judged.map(|judged| (judged.key(), judged.judge(&model.spec), 0));
        }
        if let (Some((_, judge, seen)), Some(judged)) = (&mut self.judge, judged) {
            for (at, arrival) in &world.arrivals[*seen..] {
                match arrival {
                    _ if *at < micros(judged.since()) => {}
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
        let stage = judged.map_or(0, |judged| judged.stage());
        let observation = ModelObservation {
            windows: windows.collect(),
            history_from: Some(from_micros(0)),
            labelled_until: Some(from_micros(world.now)),
            verdict: self.judge.as_ref().map(|(_, judge, _)| judge.verdict(stage)),
            tripped: None,
            exposed: self.judge.as_ref().map_or(0, |(_, judge, _)| judge.exposed()),
            latency_p99_ms: None,
        };
        Observations { models: BTreeMap::from([(name(), observation)]) }
    }

    /// Writes facts that were decided on a state, if that is still the last one.
    fn commit(&mut self, world: &mut World, facts: Vec<Fact>) {
        let behind = self.state.size != world.ledger.len() as u64;
        let fault = world.fault();
        if !behind && fault != Some(Fault::Refused) {
            facts.into_iter().for_each(|fact| world.write(fact));
        }
        if fault != Some(Fault::LostReply) {
            self.fold(world);
        }
    }

    /// One step; returns whether there was one: decide and write, tell the gateway, carry a job out, or write what came
    /// of it.
    pub(crate) fn step(&mut self, world: &mut World) -> bool {
        let observations = self.observe(world);
        let intents = decide(&self.state, &observations, world.now());
        if !intents.is_empty() {
            self.commit(world, intents.into_iter().map(|intent| intent.fact).collect());
            return true;
        }
        if self.tell_gateway(world) {
            return true;
        }
        let model = self.state.model(&name()).unwrap();
        let Some(run) = model.pending_runs().next().cloned() else {
            // What was written and not heard of is found at the next look.
            let behind = self.state.size != world.ledger.len() as u64;
            self.fold(world);
            return behind;
        };
        if self.job.as_ref() != Some(&run.run) {
            let times = match world.fault() {
                Some(Fault::TimedOut | Fault::Refused) => return true,
                Some(Fault::Twice) => 2,
                _ => 1,
            };
            for _ in 0..times {
                if matches!(run.task, RunTask::Train { .. }) && !world.trainings.contains_key(&run.run) {
                    *world.trainings.entry(run.run.clone()).or_default() += 1;
                }
            }
            self.job = Some(run.run);
            return true;
        }
        let facts = self.outcome(world, &run);
        self.commit(world, facts);
        true
    }

    /// What came of a job.
    fn outcome(&self, world: &World, run: &steersman_ledger::state::RunState) -> Vec<Fact> {
        let model = self.state.model(&name()).unwrap();
        let estimate = |value: f64| Estimate { value, low: value - 0.01, high: value + 0.01 };
        let finished = || Fact::RunFinished {
            model: name(),
            run: run.run.clone(),
            seconds: 1.0,
            metrics: BTreeMap::new(),
        };
        match run.task {
            RunTask::Train { .. } if world.nature.training_fails => {
                let (reason, hint) = ("no".to_owned(), String::new());
                vec![Fact::RunFailed { model: name(), run: run.run.clone(), reason, hint }]
            }
            RunTask::Train { .. } => {
                let version = model.next_version();
                let registered = Fact::VersionRegistered {
                    model: name(),
                    version,
                    artifact: Digest::of(version.to_string().as_bytes()),
                    run: Some(run.run.clone()),
                    snapshot: None,
                    trained_until: Some(world.now()),
                    note: String::new(),
                };
                vec![finished(), registered]
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
                    expected: None,
                };
                let evaluated =
                    Fact::EvaluationFinished { model: name(), run: run.run.clone(), version, evaluation };
                vec![evaluated, finished()]
            }
        }
    }

    fn fold(&mut self, world: &World) {
        let known = usize::try_from(self.state.size).unwrap();
        world.ledger[known..].iter().for_each(|entry| self.state.apply(entry).unwrap());
    }

    /// Tells the gateway what the state wants, an effect that can be repeated at will, and writes that it was told.
    fn tell_gateway(&mut self, world: &mut World) -> bool {
        let model = self.state.model(&name()).unwrap();
        let Some(champion) = model.champion() else { return false };
        let mut wanted = RouteState { champion, candidate: None, weight: 0.0, mirror: false };
        if let Some((_, candidate, weight, mirror)) = beside(model) {
            wanted = RouteState { champion, candidate: Some(candidate), weight, mirror };
        }
        let told = model.route == Some(wanted);
        if world.route != Some(wanted) {
            if world.faults.get(&world.step) == Some(&Fault::TimedOut) {
                world.fault();
                return true;
            }
            world.route = Some(wanted);
        }
        if told {
            return false;
        }
        let RouteState { champion, candidate, weight, mirror } = wanted;
        self.commit(world, vec![Fact::RouteApplied { model: name(), champion, candidate, weight, mirror }]);
        true
    }
}

/// Lets time pass for so many days; `kill` says before which steps the process dies.
pub(crate) fn live(world: &mut World, days: i64, mut kill: impl FnMut(u64) -> bool) -> State {
    let mut process = Process::start(world);
    for _ in 0..days * 4 {
        world.pass();
        process.fold(world);
        loop {
            world.step += 1;
            if kill(world.step) {
                process = Process::start(world);
            }
            if !process.step(world) {
                break;
            }
        }
    }
    process.state
}
