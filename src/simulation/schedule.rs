//! One schedule: a seed, and what comes of it.

use std::path::{Path, PathBuf};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    Running, check,
    deployment::Deployment,
    fault::{Fault, Faults},
    oracle::{NAMES, NOTES, Oracle},
    peer::Peer,
    prune, quiet,
    trace::Trace,
    with_writes_left,
};
use crate::{
    backend::simulated::Client,
    transport::simulated::{Down, Up},
};

/// How a schedule ended.
#[derive(Debug)]
pub struct Ended {
    /// What it had.
    pub faults: Vec<Fault>,
    /// What happened.
    pub trace: Trace,
    /// What does not hold.
    pub failure: Option<String>,
}

/// Everything there is.
pub(super) struct Simulation {
    pub(super) rng: StdRng,
    pub(super) faults: Faults,
    pub(super) peers: Vec<Peer>,
    pub(super) deployments: Vec<Deployment>,
    pub(super) oracle: Oracle,
    pub(super) trace: Trace,
    /// Milliseconds since 1970, as a right clock tells.
    pub(super) now: i64,
    began: i64,
    next_client: Client,
    pub(super) next: u32,
    pub(super) page_rows: Option<f64>,
    /// Whether every change an app pushes has to be its own.
    pub(super) owns_alone: bool,
}

/// Something that can happen.
#[derive(Clone, Copy, Debug)]
enum Step {
    Start(usize),
    Frame(usize),
    Commands(usize),
    Disk(usize),
    Answers(usize),
    Request(usize),
    Notice(usize),
    Tick(usize),
    Connect(usize),
    Up(usize),
    Transition(usize),
    Down(usize),
    Disconnect(usize),
    Lose(usize),
    Kill(usize),
    Compact(usize),
    FillDisk(usize),
    Write(usize),
    LookAfter(usize),
    CompactLog(usize),
    Prune(usize),
    Late(usize),
    StopBackend(usize),
    StartBackend(usize),
    FillBackendDisk(usize),
    Wipe(usize),
    Clock,
}

/// Runs the schedule of a seed in a folder of its own, which is removed afterwards.
pub fn run(seed: u64, folder: &Path, print: bool) -> Ended {
    let folder = folder.join(format!("{}-{seed}", std::process::id()));
    // Of an earlier run that was killed.
    let _ = std::fs::remove_dir_all(&folder);
    let mut rng = StdRng::seed_from_u64(seed);
    let faults = Faults::choose(&mut rng);
    let _running = Running::start(faults.has(Fault::TinyLimits));
    let mut simulation = Simulation::new(rng, faults, &folder, print);
    let failure = simulation.play().err();
    let Simulation { faults, trace, .. } = simulation;
    let _ = std::fs::remove_dir_all(&folder);
    Ended { faults: faults.all(), trace, failure }
}

impl Simulation {
    fn new(mut rng: StdRng, faults: Faults, folder: &Path, print: bool) -> Self {
        let peers = (0..rng.random_range(2..=4))
            .map(|number| Peer::new(number, folder.join(format!("peer-{number}"))))
            .collect();
        let urls: &[&str] =
            if faults.has(Fault::Switch) { &["http://first", "http://second"] } else { &["http://first"] };
        let place = |index: usize| -> PathBuf { folder.join(format!("backend-{index}")) };
        let retention = prune::retention(&faults, &mut rng);
        let deployments = urls.iter().enumerate().map(|(index, url)| Deployment::new(url, place(index), retention)).collect();
        let page_rows = faults.has(Fault::SmallPages).then(|| f64::from(rng.random_range(1..=3)));
        let mut trace = Trace::new(print);
        trace.add(format!("faults: {:?}, rows in a page: {page_rows:?}", faults.all()));
        // Where a replica is told to offer everything again, it offers what others have made.
        let owns_alone = ![Fault::Wipe, Fault::Switch, Fault::Prune].into_iter().any(|fault| faults.has(fault));
        let now = 1_700_000_000_000;
        Self {
            rng,
            faults,
            peers,
            deployments,
            oracle: Oracle::default(),
            trace,
            now,
            began: now,
            next_client: 1,
            next: 1,
            page_rows,
            owns_alone,
        }
    }

    fn play(&mut self) -> Result<(), String> {
        self.pass(0);
        for deployment in 0..self.deployments.len() {
            self.deployments[deployment].start(&mut self.trace)?;
        }
        let steps = self.rng.random_range(100..=500);
        for _ in 0..steps {
            let time = if self.rng.random_ratio(1, 30) { 3_000 } else { 40 };
            let time = self.rng.random_range(0..time);
            self.pass(time);
            let step = self.choose();
            self.take(step)?;
        }
        quiet::settle(self)?;
        check::all(self)
    }

    /// Time passes, in milliseconds.
    pub(super) fn pass(&mut self, time: i64) {
        self.now += time;
        for peer in &self.peers {
            peer.clock.set(self.now + peer.skew);
        }
        for deployment in &self.deployments {
            deployment.set_time(self.now);
        }
    }

    /// Milliseconds since it began.
    pub(super) fn elapsed(&self) -> std::time::Duration {
        std::time::Duration::from_millis((self.now - self.began) as u64)
    }

    /// One of the steps that can be taken now.
    fn choose(&mut self) -> Step {
        let mut steps: Vec<(Step, u32)> = Vec::new();
        let has = |fault| self.faults.has(fault);
        let network = if has(Fault::Delay) { 12 } else { 60 };
        let disk = if has(Fault::SlowDisk) { 8 } else { 50 };
        let elapsed = self.elapsed();
        for (index, peer) in self.peers.iter_mut().enumerate() {
            let Some(app) = &mut peer.app else {
                steps.push((Step::Start(index), 20));
                continue;
            };
            let node = self.deployments[peer.deployment].node.as_ref();
            let mut may = |step: fn(usize) -> Step, possible: bool, weight: u32| {
                if possible && weight > 0 {
                    steps.push((step(index), weight));
                }
            };
            may(Step::Frame, true, 50);
            may(Step::Commands, app.process.commands_waiting() > 0, 50);
            may(Step::Disk, app.process.requests_waiting() > 0, disk);
            may(Step::Answers, app.process.answers_waiting() > 0, 50);
            may(Step::Request, app.process.requests_of_transport() > 0, 60);
            may(Step::Notice, !app.line.notices.is_empty(), 50);
            may(Step::Tick, app.line.is_connected() && app.line.due().is_some_and(|due| due <= elapsed), 20);
            may(Step::Connect, !app.line.is_connected() && app.process.has_transport() && node.is_some(), 25);
            may(Step::Up, !app.line.up.is_empty(), network);
            may(Step::Down, !peer.down.is_empty(), network);
            let has_news = node.zip(peer.client).is_some_and(|(node, client)| node.has_news(client));
            may(Step::Transition, has_news, network);
            let cut = if peer.is_doomed { 30 } else { 3 * u32::from(has(Fault::Disconnect)) };
            may(Step::Disconnect, app.line.is_connected(), cut);
            may(Step::Lose, !peer.down.is_empty() || !app.line.up.is_empty(), 4 * u32::from(has(Fault::Loss)));
            may(Step::Kill, true, 3 * u32::from(has(Fault::Crash)));
            may(Step::Compact, true, 6 * u32::from(has(Fault::CompactStore)));
            may(Step::FillDisk, true, 3 * u32::from(has(Fault::FullDisk)));
        }
        for (index, deployment) in self.deployments.iter().enumerate() {
            let Some(node) = &deployment.node else {
                steps.push((Step::StartBackend(index), 25));
                continue;
            };
            let mut may = |step: fn(usize) -> Step, possible: bool, weight: u32| {
                if possible && weight > 0 {
                    steps.push((step(index), weight));
                }
            };
            may(Step::Write, node.mutations_waiting() > 0, 50);
            may(Step::LookAfter, true, 5);
            may(Step::CompactLog, true, 8 * u32::from(has(Fault::CompactLog)));
            may(Step::Prune, has(Fault::Prune) && prune::has_tombstones(node), 40);
            may(Step::Late, !deployment.late.is_empty(), 15);
            may(Step::StopBackend, true, 4 * u32::from(has(Fault::BackendCrash)));
            may(Step::FillBackendDisk, true, 3 * u32::from(has(Fault::BackendFull)));
            may(Step::Wipe, true, 2 * u32::from(has(Fault::Wipe)));
        }
        if has(Fault::Clocks) {
            steps.push((Step::Clock, 6));
        }
        let mut at = self.rng.random_range(0..steps.iter().map(|(_, weight)| weight).sum());
        for (step, weight) in &steps {
            if at < *weight {
                return *step;
            }
            at -= weight;
        }
        Step::Clock
    }

    fn take(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Start(peer) => self.start(peer)?,
            Step::Frame(peer) => {
                let most = if self.faults.has(Fault::OddFrames) { 4 } else { 2 };
                let work = if self.rng.random_bool(0.5) { self.rng.random_range(1..most) } else { 0 };
                self.frame(peer, work)?;
            }
            Step::Commands(peer) => {
                let most = self.few();
                self.trace.add(format!("{}: takes {most} commands", self.peers[peer].name));
                self.app(peer, |app| app.process.take_commands(most));
                self.look_at_reports(peer)?;
            }
            Step::Disk(peer) => {
                let most = self.few();
                self.disk(peer, most)?;
            }
            Step::Answers(peer) => {
                let most = self.few();
                self.trace.add(format!("{}: takes {most} answers", self.peers[peer].name));
                self.app(peer, |app| app.process.take_answers(most));
                self.look_at_reports(peer)?;
            }
            Step::Request(peer) => self.peers[peer].request(self.owns_alone, &mut self.trace)?,
            Step::Notice(peer) => {
                self.peers[peer].notice(&mut self.trace);
                self.look_at_reports(peer)?;
            }
            Step::Tick(peer) => self.tick(peer),
            Step::Connect(peer) => self.connect(peer),
            Step::Up(peer) => self.up(peer),
            Step::Transition(peer) => self.transition(peer),
            Step::Down(peer) => self.down(peer),
            Step::Disconnect(peer) => self.disconnect(peer),
            Step::Lose(peer) => self.lose(peer),
            Step::Kill(peer) => self.kill(peer)?,
            Step::Compact(peer) => self.compact(peer)?,
            Step::FillDisk(peer) => {
                self.peers[peer].full_until = self.now + self.rng.random_range(100..5_000);
                self.trace.add(format!("{}: its disk is full", self.peers[peer].name));
            }
            Step::Write(deployment) => self.write(deployment),
            Step::LookAfter(deployment) => {
                if let Some(node) = &mut self.deployments[deployment].node {
                    node.look_after();
                }
            }
            Step::CompactLog(deployment) => self.compact_log(deployment),
            Step::Prune(deployment) => prune::prune(self, deployment),
            Step::Late(deployment) => {
                let late = self.deployments[deployment].late.len();
                let at = self.rng.random_range(0..late);
                if let Some((client, up)) = self.deployments[deployment].late.remove(at) {
                    self.trace.add(format!("{}: hears {} late", self.deployments[deployment].url, said(&up)));
                    self.hear(deployment, client, up);
                }
            }
            Step::StopBackend(deployment) => self.stop_backend(deployment),
            Step::StartBackend(deployment) => self.deployments[deployment].start(&mut self.trace)?,
            Step::FillBackendDisk(deployment) => {
                self.deployments[deployment].full_until = self.now + self.rng.random_range(100..3_000);
                self.trace.add(format!("{}: its disk is full", self.deployments[deployment].url));
            }
            Step::Wipe(deployment) => {
                self.trace.add(format!("{}: is wiped", self.deployments[deployment].url));
                self.lose_connections(deployment);
                self.deployments[deployment].wipe();
            }
            Step::Clock => {
                let skew = self.rng.random_range(-100_000_000..100_000_000);
                let all = self.peers.len() + self.deployments.len();
                let at = self.rng.random_range(0..all);
                match self.peers.get_mut(at) {
                    Some(peer) => peer.skew = skew,
                    None => self.deployments[at - self.peers.len()].skew = skew,
                }
                self.trace.add(format!("clock {at} is {skew} ms wrong"));
                self.pass(0);
            }
        }
        Ok(())
    }

    /// One, a few or all that wait.
    fn few(&mut self) -> usize {
        match self.rng.random_range(0..3) {
            0 => 1,
            1 => self.rng.random_range(1..6),
            _ => usize::MAX,
        }
    }

    fn app<T>(&mut self, peer: usize, what: impl FnOnce(&mut super::peer::App) -> T) -> Option<T> {
        self.peers[peer].app.as_mut().map(what)
    }

    pub(super) fn look_at_reports(&mut self, peer: usize) -> Result<(), String> {
        let Peer { app: Some(app), name, .. } = &mut self.peers[peer] else { return Ok(()) };
        app.collect_reports(&mut self.oracle, name, &mut self.trace)
    }

    pub(super) fn start(&mut self, peer: usize) -> Result<(), String> {
        if self.faults.has(Fault::Switch) {
            self.peers[peer].deployment = self.rng.random_range(0..self.deployments.len());
        }
        self.peers[peer].start(&self.deployments, &self.faults, &mut self.rng, &mut self.trace)
    }

    pub(super) fn frame(&mut self, peer: usize, work: usize) -> Result<(), String> {
        self.peers[peer].frame(work, &self.faults, &mut self.rng, &mut self.next, &mut self.oracle, &mut self.trace)
    }

    /// The disk of an app carries out what waits.
    pub(super) fn disk(&mut self, peer: usize, most: usize) -> Result<(), String> {
        let is_full = self.now < self.peers[peer].full_until;
        let most_writes = is_full.then(|| self.rng.random_range(0..2));
        let name = self.peers[peer].name.clone();
        let worked = self.app(peer, |app| with_writes_left(most_writes, || app.process.work_disk(most)));
        self.trace.add(format!("{name}: its disk takes {most}, {worked:?}"));
        check::checkpoints(self, peer)
    }

    pub(super) fn tick(&mut self, peer: usize) {
        let elapsed = self.elapsed();
        self.app(peer, |app| app.line.tick(elapsed));
    }

    pub(super) fn connect(&mut self, peer: usize) {
        self.trace.add(format!("{}: connects", self.peers[peer].name));
        self.peers[peer].client = Some(self.next_client);
        self.next_client += 1;
        self.tick(peer);
        self.app(peer, |app| app.line.connect());
    }

    /// The connection ends. What is on its way to the backend is lost, or comes late.
    pub(super) fn disconnect(&mut self, peer: usize) {
        self.trace.add(format!("{}: is disconnected", self.peers[peer].name));
        let (is_late, deployment) = (self.faults.has(Fault::Late), self.peers[peer].deployment);
        let Peer { app, client, down, is_doomed, .. } = &mut self.peers[peer];
        down.clear();
        *is_doomed = false;
        let client = client.take();
        if let (Some(client), Some(node)) = (client, &mut self.deployments[deployment].node) {
            node.disconnect(client);
        }
        let Some(app) = app else { return };
        let sent = std::mem::take(&mut app.line.up);
        app.line.disconnect();
        for up in sent.into_iter().filter(|up| matches!(up, Up::Mutate { .. })) {
            if let (true, Some(client)) = (is_late && self.rng.random_bool(0.5), client) {
                self.deployments[deployment].late.push_back((client, up));
            }
        }
    }

    /// A message of the app arrives at the backend.
    pub(super) fn up(&mut self, peer: usize) {
        let Peer { app: Some(app), client: Some(client), deployment, name, .. } = &mut self.peers[peer] else { return };
        let (client, deployment) = (*client, *deployment);
        let Some(up) = app.line.up.pop_front() else { return };
        self.trace.add(format!("{name}: {} arrives", said(&up)));
        if matches!(up, Up::Mutate { .. }) && self.faults.strikes(Fault::Duplicate) && self.rng.random_bool(0.2) {
            self.deployments[deployment].late.push_back((client, up.clone()));
        }
        self.hear(deployment, client, up);
    }

    fn hear(&mut self, deployment: usize, client: Client, up: Up) {
        let page_rows = self.page_rows;
        if let Some(node) = &mut self.deployments[deployment].node {
            node.hear(client, up, page_rows);
        }
    }

    /// The backend sends what is new.
    pub(super) fn transition(&mut self, peer: usize) {
        let Peer { client: Some(client), deployment, down, .. } = &mut self.peers[peer] else { return };
        let again = self.faults.strikes(Fault::Duplicate) && self.rng.random_bool(0.1);
        let node = self.deployments[*deployment].node.as_mut();
        down.extend(node.and_then(|node| node.transition(*client, again)));
    }

    /// A message of the backend arrives at the app: results in their order, an answer before or after them.
    pub(super) fn down(&mut self, peer: usize) {
        let Peer { app: Some(app), down, name, .. } = &mut self.peers[peer] else { return };
        let at = self.rng.random_range(0..down.len());
        let at = match down[at] {
            Down::Answer { .. } => at,
            Down::Results(_) => down.iter().position(|down| matches!(down, Down::Results(_))).unwrap_or(0),
        };
        let Some(message) = down.remove(at) else { return };
        let what = match &message {
            Down::Answer { request, .. } => format!("the answer to {request}"),
            Down::Results(results) => format!("{} results", results.len()),
        };
        self.trace.add(format!("{name}: {what} arrive"));
        if self.faults.strikes(Fault::Duplicate) && self.rng.random_bool(0.2) {
            app.line.hear(message.clone());
        }
        app.line.hear(message);
        if !app.line.is_connected() {
            self.disconnect(peer);
        }
    }

    fn lose(&mut self, peer: usize) {
        let Peer { app: Some(app), down, is_doomed, name, .. } = &mut self.peers[peer] else { return };
        *is_doomed = true;
        self.trace.add(format!("{name}: a message is lost"));
        if down.pop_back().is_none() {
            app.line.up.pop_back();
        }
    }

    fn kill(&mut self, peer: usize) -> Result<(), String> {
        // It may be in the middle of writing.
        if self.rng.random_bool(0.5) {
            let writes = Some(self.rng.random_range(0..3));
            self.app(peer, |app| with_writes_left(writes, || app.process.work_disk(usize::MAX)));
            check::checkpoints(self, peer)?;
        }
        self.trace.add(format!("{}: is killed", self.peers[peer].name));
        self.disconnect(peer);
        self.peers[peer].kill(&mut self.oracle);
        Ok(())
    }

    fn compact(&mut self, peer: usize) -> Result<(), String> {
        let Peer { app: Some(app), name, .. } = &mut self.peers[peer] else { return Ok(()) };
        let collection = NAMES[usize::from(NOTES.0)];
        let documents =
            app.process.store().documents(collection, None, usize::MAX).map_err(|error| error.to_string())?;
        if documents.is_empty() {
            return Ok(());
        }
        let document = &documents[self.rng.random_range(0..documents.len())].id;
        let compacted = app.process.compact(collection, document).map_err(|error| error.to_string())?;
        self.trace.add(format!("{name}: compacts {document}: {compacted}"));
        check::checkpoints(self, peer)
    }

    /// The backend makes mutations durable and answers them.
    pub(super) fn write(&mut self, deployment: usize) {
        let at = &mut self.deployments[deployment];
        let writes = (self.now < at.full_until).then_some(0);
        let Some(node) = &mut at.node else { return };
        let answers = with_writes_left(writes, || node.write(&NAMES));
        self.trace.add(format!("{}: writes, and has {} answers", at.url, answers.len()));
        for (client, request, result) in answers {
            let asked = self.peers.iter_mut().find(|peer| peer.client == Some(client) && peer.deployment == deployment);
            if let Some(peer) = asked {
                peer.down.push_back(Down::Answer { request, result });
            }
        }
    }

    fn compact_log(&mut self, deployment: usize) {
        let Deployment { node: Some(node), url, .. } = &mut self.deployments[deployment] else { return };
        let collection = NAMES[usize::from(NOTES.0)];
        let rows = node.rows(collection);
        if rows.is_empty() {
            return;
        }
        let document = &rows[self.rng.random_range(0..rows.len())].0;
        let tail = self.rng.random_range(0..4);
        self.trace.add(format!("{}: compacts {document} but for {tail}", url));
        node.compact(collection, document, tail);
    }

    fn lose_connections(&mut self, deployment: usize) {
        for peer in 0..self.peers.len() {
            if self.peers[peer].deployment == deployment && self.peers[peer].client.is_some() {
                self.disconnect(peer);
            }
        }
    }

    fn stop_backend(&mut self, deployment: usize) {
        if self.rng.random_bool(0.5) {
            // After the commit, before the answer.
            self.write(deployment);
        }
        self.trace.add(format!("{}: is killed", self.deployments[deployment].url));
        self.lose_connections(deployment);
        self.deployments[deployment].stop();
    }
}

fn said(up: &Up) -> String {
    match up {
        Up::Subscribe { arguments, .. } => format!("a subscription {arguments}"),
        Up::Close(_) => "the end of a subscription".into(),
        Up::Mutate { request, function, .. } => format!("mutation {request} {function}"),
    }
}
