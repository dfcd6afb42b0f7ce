//! A computer with an app. The files on its disk remain when the app's process ends.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

use automerge::ChangeHash;
use rand::{Rng, rngs::StdRng};

use super::{
    deployment::Deployment,
    fault::{Fault, Faults},
    note::NoteVersion,
    oracle::{NAMES, Oracle, Run},
    rights::Rights,
    trace::Trace,
    user::{Deeds, User},
    words::{at, describe, described, told},
    world::World,
};
use crate::{
    DocumentId,
    backend::simulated::{Client, Down},
    format::is_place_change,
    record::ToBackend,
    replica::{self, Edit, EditKind, Push, Put},
    store::ChunkKind,
    transport::{Request, simulated::Line},
    worker::{Command, FailureKind, Report, WorkerConfig, simulated},
};

/// A running app.
pub(super) struct App {
    pub(super) process: simulated::Process,
    pub(super) world: World,
    pub(super) line: Line,
    run: Run,
    /// Whether the user has chosen to be offline.
    pub(super) is_offline: bool,
    /// The number of times that the app had forgotten its knowledge of its deployment at the last check.
    pub(super) forgotten: u32,
    /// Reports that the world has not been given yet.
    reports: VecDeque<Report>,
}

/// A computer.
pub(super) struct Peer {
    pub(super) name: String,
    number: u8,
    folder: PathBuf,
    pub(super) app: Option<App>,
    /// The connection, if there is one.
    pub(super) client: Option<Client>,
    pub(super) down: VecDeque<Down>,
    /// Whether a message was lost, so that the connection ends soon.
    pub(super) is_doomed: bool,
    pub(super) clock: Rc<Cell<i64>>,
    /// The error of the computer's clock, in milliseconds.
    pub(super) skew: i64,
    /// The time until which the computer's disk is full, in milliseconds.
    pub(super) full_until: i64,
    /// The deployment that the app talks to.
    pub(super) deployment: usize,
    runs: u16,
    /// The changes in each snapshot.
    snapshots: BTreeMap<ChangeHash, Vec<ChangeHash>>,
    /// The changes that the app had when it was told to start over. It may offer them to a log that has them.
    pub(super) offers: Stored,
    /// The commit up to which the log had been pruned, by collection, each time that the app started over.
    pub(super) began: BTreeSet<[Option<i64>; 2]>,
    /// The users, and what they may do.
    pub(super) rights: Rights,
}

/// A change, with its collection and document.
pub(super) type Change = (&'static str, DocumentId, ChangeHash);

/// Changes in a store or a log.
pub(super) type Stored = BTreeSet<Change>;

/// The changes in a store.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) all: Stored,
    /// The changes that the store takes as held by a log, by the store's number of the log.
    pub(super) held: BTreeMap<i64, Stored>,
}

impl Peer {
    pub(super) fn new(number: u8, folder: PathBuf) -> Self {
        Self {
            name: String::from(char::from(b'a' + number)),
            number,
            folder,
            app: None,
            client: None,
            down: VecDeque::new(),
            is_doomed: false,
            clock: Rc::default(),
            skew: 0,
            full_until: 0,
            deployment: 0,
            runs: 0,
            snapshots: BTreeMap::new(),
            offers: Stored::new(),
            began: BTreeSet::new(),
            rights: Rights::default(),
        }
    }

    /// Starts the app.
    pub(super) fn start(
        &mut self,
        deployments: &[Deployment],
        faults: &Faults,
        rng: &mut StdRng,
        trace: &mut Trace,
    ) -> Result<(), String> {
        self.runs += 1;
        let fields =
            if faults.has(Fault::Versions) && rng.random_bool(0.5) { NoteVersion::New } else { NoteVersion::Old };
        let budget = if faults.has(Fault::OddFrames) && rng.random_bool(0.3) {
            Duration::ZERO
        } else {
            Duration::from_secs(3_600)
        };
        let waits = rng.random_bool(0.3);
        let rate = rng.random_bool(0.3).then(|| rng.random_range(0.5..10.0));
        let world = World::new(fields, budget, waits, rate);
        if faults.has(Fault::Users) && self.rights.user.is_none() {
            self.rights.user = Some(0);
        }
        trace.add(format!("{}: starts, {fields:?} fields", self.name));
        self.run(world, deployments, rng, trace)
    }

    /// Starts a process for the world.
    fn run(
        &mut self,
        mut world: World,
        deployments: &[Deployment],
        rng: &mut StdRng,
        trace: &mut Trace,
    ) -> Result<(), String> {
        // An actor is new in each run. It contains the app's number, which shows the app that made a change. The other
        // bytes are random, so chance decides conflicts.
        let mut actor: [u8; 16] = rng.random();
        actor[12] = self.number;
        actor[13..15].copy_from_slice(&self.runs.to_be_bytes());
        self.rights.mark(&mut actor);
        let config = WorkerConfig {
            store: simulated::store_path(&self.folder),
            deployment: Some(deployments[self.deployment].url.clone()),
            auth: None,
            user: self.rights.name(),
            online: true,
            collections: world.collections(),
            waker: None,
        };
        trace.add(format!("{}: {:?} works with {}", self.name, self.rights.user, deployments[self.deployment].url));
        let process = simulated::Process::start(config, actor, self.clock.clone())
            .map_err(|error| format!("{}: its store does not open: {error}", self.name))?;
        let line = Line::new(&deployments[self.deployment].url, NAMES.map(String::from).to_vec(), rng.random());
        self.app = Some(App {
            process,
            world,
            line,
            run: Run::on(self.number),
            is_offline: false,
            forgotten: 0,
            reports: VecDeque::new(),
        });
        Ok(())
    }

    /// Kills the app. Edits that are not on the disk are lost.
    pub(super) fn kill(&mut self, oracle: &mut Oracle) {
        if let Some(app) = self.app.take() {
            oracle.ended(app.run);
        }
        self.is_doomed = false;
        self.down.clear();
    }

    /// Runs one frame. If `odd`, the user works at any point of the frame, and reports are taken a few at a time.
    pub(super) fn frame(
        &mut self,
        work: usize,
        faults: &Faults,
        rng: &mut StdRng,
        next: &mut u32,
        oracle: &mut Oracle,
        trace: &mut Trace,
    ) -> Result<(), String> {
        let Some(app) = &mut self.app else { return Ok(()) };
        app.collect_reports(oracle, &self.name, trace)?;
        let odd = faults.has(Fault::OddFrames);
        let given = if odd { rng.random_range(0..=app.reports.len()) } else { app.reports.len() };
        let (early, late) = if odd && work > 0 { (rng.random_range(0..=work), rng.random_range(0..2)) } else { (0, 0) };
        trace.add(format!("{}: a frame, given {given} reports, {early}+{}+{late} edits", self.name, work - early));
        let mut arriving = Vec::new();
        for report in app.reports.drain(..given) {
            if let Report::Delta { document, .. } = &report {
                arriving.push(document.id.clone());
            }
            app.world.report(report);
        }
        let mut user = User { rng, faults, name: &self.name, arriving: &arriving, next };
        let deeds = app.world.frame(early, work - early, &mut user);
        app.note(deeds, &self.name, oracle, trace);
        app.give_commands(trace, &self.name);
        // Edits made after the capture are captured in the next frame.
        let deeds = app.world.between(late, &mut user);
        app.note(deeds, &self.name, oracle, trace);
        Ok(())
    }

    /// Takes the next request to the app's transport.
    pub(super) fn request(&mut self, is_one_log: bool, trace: &mut Trace) -> Result<(), String> {
        let Some(app) = &mut self.app else { return Ok(()) };
        let Some(request) = app.process.next_request() else { return Ok(()) };
        match &request {
            Request::Backend(ToBackend::Push(push)) => {
                trace.add(format!("{}: pushes {}", self.name, described(push)));
                if is_one_log {
                    let user = self.rights.user.unwrap_or_default() as u8;
                    only_its_own(push, (self.number, user), &self.offers)
                        .map_err(|what| format!("{}: {what}", self.name))?;
                }
            }
            Request::Backend(ToBackend::Subscribe { collection, checkpoint }) => {
                trace.add(format!("{}: subscribes {} from {}", self.name, collection.0, at(checkpoint.position)));
            }
            Request::Online(_) => {}
        }
        let request = match request {
            Request::Backend(ToBackend::Push(push)) => match self.rights.refuse(push) {
                Some(push) => {
                    self.rights.check_token(&self.name)?;
                    Request::Backend(ToBackend::Push(push))
                }
                None => return Ok(()),
            },
            other => other,
        };
        app.line.request(request);
        Ok(())
    }

    /// The session of the user has ended in the world and the worker, and that of another begins.
    pub(super) fn begin_session(
        &mut self,
        deployments: &[Deployment],
        oracle: &mut Oracle,
        rng: &mut StdRng,
        trace: &mut Trace,
    ) -> Result<(), String> {
        let Some(App { world, run, .. }) = self.app.take() else { return Ok(()) };
        oracle.ended(run);
        self.runs += 1;
        let world = world.begin_session(self.rights.name());
        self.run(world, deployments, rng, trace)
    }

    /// Gives the worker the next notice of the transport.
    pub(super) fn notice(&mut self, trace: &mut Trace) {
        let Some(app) = &mut self.app else { return };
        let Some(mut notice) = self.rights.next_answer().or_else(|| app.line.next_notice()) else { return };
        self.rights.complete(&mut notice);
        trace.add(format!("{}: is told {}", self.name, told(&notice)));
        app.process.notice(notice);
    }

    /// The changes in the store.
    pub(super) fn contents(&mut self) -> Result<Contents, String> {
        let mut contents = Contents::default();
        let Some(app) = &self.app else { return Ok(contents) };
        let store = app.process.store();
        for collection in NAMES {
            let documents = store.documents(collection, None, usize::MAX).map_err(|error| error.to_string())?;
            for document in documents {
                for chunk in store.chunks(collection, &document.id).map_err(|error| error.to_string())? {
                    let alone = [chunk.hash];
                    let changes = match chunk.kind {
                        ChunkKind::Change => &alone[..],
                        ChunkKind::Snapshot => self.snapshots.entry(chunk.hash).or_insert_with(|| {
                            let changes = replica::changes_of(chunk.hash, &chunk.bytes);
                            changes.into_iter().map(|change| change.hash).collect()
                        }),
                    };
                    for hash in changes {
                        let change = (collection, document.id.clone(), *hash);
                        if let Some(remote) = chunk.remote {
                            contents.held.entry(remote.0).or_default().insert(change.clone());
                        }
                        contents.all.insert(change);
                    }
                }
            }
        }
        Ok(contents)
    }
}

impl App {
    /// Checks the worker's reports before the world gets them.
    pub(super) fn collect_reports(&mut self, oracle: &mut Oracle, name: &str, trace: &mut Trace) -> Result<(), String> {
        while let Some(report) = self.process.next_report() {
            match &report {
                Report::Status(status) => oracle.saved(&mut self.run, status.saved),
                Report::Failed(failure) | Report::Stopped(failure) => {
                    trace.add(format!("{name}:   is told that {failure}"));
                    // These failures are expected. The app tries again.
                    let is_expected = matches!(
                        failure.kind,
                        FailureKind::Store
                                | FailureKind::Refused
                                | FailureKind::Pruned
                                | FailureKind::OtherUser
                                | FailureKind::Unauthenticated
                                // A document is discarded that was accepted meanwhile.
                                | FailureKind::Identity
                    );
                    if !is_expected {
                        return Err(format!("{name} reports: {failure}"));
                    }
                }
                Report::Delta { document, generation, seen, origin, content, .. } => {
                    let gone = if content.is_none() { ", deleted" } else { "" };
                    let id = &document.id;
                    trace.add(format!("{name}:   {id} g{generation} s{seen} from {origin:?}{gone}"));
                }
                Report::Ready(_) | Report::Read { .. } | Report::Compared { .. } | Report::Refused { .. } => {}
            }
            self.reports.push_back(report);
        }
        Ok(())
    }

    /// The user signs out: gives the worker what the world captures last.
    pub(super) fn end_session(&mut self, trace: &mut Trace, name: &str) {
        self.world.end_session();
        self.reports.clear();
        self.give_commands(trace, name);
    }

    /// Gives the worker the commands of the world.
    fn give_commands(&mut self, trace: &mut Trace, name: &str) {
        while let Some(command) = self.world.next_command() {
            trace.add(format!("{name}:   {}", describe(&command)));
            if let Command::Edit(Edit { document, kind, .. }) = &command {
                self.run.sent(document, matches!(kind, EditKind::Put { put: Put::Edited | Put::Spawned, .. }));
            }
            self.process.send(command);
        }
    }

    fn note(&mut self, deeds: Deeds, name: &str, oracle: &mut Oracle, trace: &mut Trace) {
        for (document, done) in deeds {
            trace.add(format!("{name}:   {document} {done:?}"));
            oracle.made(&mut self.run, document, done);
        }
    }

    /// Whether the time that the app's session waits for has come. The session runs as soon as the worker has started
    /// its transport.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.process.has_transport() && self.line.due().is_some_and(|due| due <= now)
    }

    /// The time that the app's session still waits before it tries to connect.
    pub(super) fn pause(&self, now: Duration) -> Option<Duration> {
        if !self.process.has_transport() || self.line.is_connected() {
            return None;
        }
        self.line.due().and_then(|due| due.checked_sub(now)).filter(|pause| !pause.is_zero())
    }

    pub(super) fn has_reports(&self) -> bool {
        !self.reports.is_empty()
    }
}

/// Checks that an app pushes only changes that it made. After a log has told an app to start over, the app may also
/// offer the changes that it had then.
fn only_its_own(push: &Push, (number, user): (u8, u8), offers: &Stored) -> Result<(), String> {
    let collection = NAMES[usize::from(push.collection.0)];
    for document in &push.documents {
        for (hash, bytes) in &document.changes {
            let change =
                automerge::Change::try_from(&**bytes).map_err(|error| format!("pushes what is no change: {error}"))?;
            // An edit at an older version has an actor of its own, which ends with the app's actor.
            let actor = change.actor_id().to_bytes();
            if is_place_change(&change) {
                // Several apps may have made this change.
                continue;
            }
            let maker = actor.get(actor.len().saturating_sub(4)).copied().unwrap_or_default();
            let of_user = actor.last().copied().unwrap_or_default();
            if (maker != number || of_user != user) && !offers.contains(&(collection, document.id.clone(), *hash)) {
                return Err(format!(
                    "pushes change {hash} of {}, which user {of_user} of app {maker} has made",
                    document.id
                ));
            }
        }
    }
    Ok(())
}
