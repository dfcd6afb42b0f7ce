//! A worker at work: what happens goes to the replica, and what that wants done goes to the store, the transport and the front end.

use std::{
    collections::{BTreeSet, HashSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crossbeam_channel::Sender;
use tokio::sync::mpsc;

use super::{
    Captured, CollectionConfig, Command, Encode, Failure, FailureKind, Misfit, Report, WorkerConfig,
    disk::{DiskAnswer, DiskHandle, DiskRequest},
    status::StatusTracker,
};
use crate::{
    CollectionIndex, DocumentId, DocumentKey,
    format::{self, FormatError, Value},
    record::{RefusalCode, RemoteId},
    replica::{Change, CollectionSchema, Delta, Edit, Effect, Event, Put, Replica},
    status::Reason,
    transport::{Notice, Request, Transport, TransportConfig},
};

/// What a worker is given by the program around it.
pub(super) struct Surroundings {
    /// New for each run of a program.
    pub(super) actor: [u8; 16],
    /// Milliseconds since 1970.
    pub(super) now: Box<dyn Fn() -> i64>,
    /// Starts to talk to a deployment.
    pub(super) connect: Box<dyn FnMut(TransportConfig) -> (Transport, mpsc::Receiver<Notice>)>,
}

impl Surroundings {
    pub(super) fn real() -> Self {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as i64);
        Self { actor: uuid::Uuid::new_v4().into_bytes(), now: Box::new(now), connect: Box::new(Transport::start) }
    }
}

fn put(captured: &dyn Encode, put: Put) -> Result<Change, FormatError> {
    format::guarded_type("Encode", "the front end", || captured.encode()).map(|(value, mask)| Change::Put {
        value,
        mask,
        put,
    })
}

pub(super) struct Running {
    surroundings: Surroundings,
    pub(super) replica: Replica,
    collections: Vec<CollectionConfig>,
    deployment: Option<String>,
    disk: DiskHandle,
    pub(super) reports: Sender<Report>,
    pub(super) transport: Option<Transport>,
    pub(super) notices: Option<mpsc::Receiver<Notice>>,
    transport_config: Option<TransportConfig>,
    online: bool,
    remote: Option<RemoteId>,
    pub(super) status: StatusTracker,
    /// Documents whose misfit was told of.
    misfits: HashSet<DocumentKey>,
    /// Collections of which all that the deployment had was reported.
    read: BTreeSet<CollectionIndex>,
    /// The transport is started when the store has told what it knows of the deployment.
    started: bool,
}

impl Running {
    pub(super) fn new(
        config: WorkerConfig,
        reports: Sender<Report>,
        disk: DiskHandle,
        surroundings: Surroundings,
    ) -> Self {
        let schemas = config
            .collections
            .iter()
            .map(|collection| CollectionSchema { name: collection.name.clone(), schema: collection.codec.clone() })
            .collect();
        let transport_config = config.deployment.clone().map(|url| TransportConfig {
            url,
            auth: config.auth.clone(),
            collections: config.collections.iter().map(|collection| collection.name.clone()).collect(),
            seed: rand::random(),
        });
        let status = StatusTracker::new(config.collections.len());
        Self {
            replica: Replica::new(surroundings.actor, schemas, config.deployment.is_some()),
            surroundings,
            collections: config.collections,
            deployment: config.deployment,
            disk,
            reports,
            transport: None,
            notices: None,
            transport_config,
            online: config.online,
            remote: None,
            status,
            misfits: HashSet::new(),
            read: BTreeSet::new(),
            started: false,
        }
    }

    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Edit { document, generation, capture, change } => {
                let number = self.status.edit();
                let encoded = match change {
                    Captured::Delete => Ok(Change::Delete),
                    Captured::Restore => Ok(Change::Restore),
                    Captured::Put(value) => put(&*value, Put::Edited),
                    Captured::Spawn(value) => put(&*value, Put::Spawned),
                    Captured::Ensure(value) => put(&*value, Put::Ensured),
                };
                let change = match encoded {
                    Ok(change) => change,
                    Err(error) => {
                        let message = format!("the edit was not taken in: {error}");
                        let (collection, id) = (document.collection, document.id.clone());
                        self.fail(FailureKind::Unwritable, Some(collection), Some(id), message);
                        self.status.edited(number, 0);
                        let nothing = Report::Compared { document: document.clone(), capture, fields: Vec::new() };
                        self.report(nothing);
                        return self.handle(Event::Unwritable { document, capture });
                    }
                };
                self.handle(Event::Edit(Edit { number, document, generation, capture, change }));
            }
            Command::Applied(shown) => self.handle(Event::Applied(shown)),
            Command::Kept(kept) => self.handle(Event::Kept(kept)),
            Command::Show(document) => self.handle(Event::Show(document)),
            Command::Online(online) => {
                self.online = online;
                if let Some(transport) = &self.transport {
                    transport.request(Request::Online(online));
                }
            }
            Command::Retry => self.handle(Event::Retry),
            Command::RebuildStore => self.disk.request(DiskRequest::Rebuild),
        }
    }

    pub(super) fn answered(&mut self, answer: DiskAnswer) {
        match answer {
            DiskAnswer::Open => {
                self.status.opened();
                if let Some(deployment) = self.deployment.clone() {
                    self.disk.request(DiskRequest::Remote { deployment, epoch: None });
                }
            }
            DiskAnswer::Filled(collection) => {
                self.status.filled(collection);
                self.report(Report::Ready(collection));
                if self.deployment.is_none() {
                    self.report(Report::Read { collection, read: true });
                }
            }
            DiskAnswer::Failed(failure) => self.report(Report::Failed(failure)),
            DiskAnswer::Stuck(failure) => {
                if !self.started && self.deployment.is_some() {
                    self.status.disconnected(Reason::Store(failure.message.clone()));
                }
                self.report(Report::Failed(failure));
            }
            DiskAnswer::Lost { write, collection, id } => {
                self.status.lost(write);
                if let Some(index) = self.collections.iter().position(|known| known.name == collection) {
                    self.handle(Event::Lost(DocumentKey { collection: CollectionIndex(index as u16), id }));
                }
            }
            DiskAnswer::Recovered => tracing::info!(target: "bevy_convex_replicate::store", "the store works again"),
            DiskAnswer::Event(event) => {
                match &event {
                    Event::Written(write) => self.status.written(*write),
                    Event::Remote { state, .. } => self.remote = state.remote,
                    _ => {}
                }
                let first = matches!(event, Event::Remote { .. });
                if first && !self.started {
                    self.start_transport();
                }
                self.handle(event);
            }
        }
    }

    fn start_transport(&mut self) {
        self.started = true;
        let Some(config) = self.transport_config.clone() else { return };
        self.status.starting();
        let (transport, notices) = (self.surroundings.connect)(config);
        transport.request(Request::Online(self.online));
        self.transport = Some(transport);
        self.notices = Some(notices);
    }

    pub(super) fn noticed(&mut self, notice: Option<Notice>) {
        let Some(notice) = notice else {
            self.notices = None;
            return;
        };
        match notice {
            Notice::Connecting { attempt, reason } => {
                self.status.connecting(attempt, reason);
            }
            Notice::Connected => {
                self.unread();
                self.status.connected();
                self.handle(Event::Connected);
            }
            Notice::Disconnected { reason, .. } => {
                self.tell_reason(&reason);
                self.unread();
                self.status.disconnected(reason);
                self.handle(Event::Disconnected);
            }
            Notice::Page(page) => {
                self.handle(Event::Page(page));
                self.status.advance();
            }
            Notice::Count { collection, documents } => {
                self.status.counted(collection, documents);
            }
            Notice::PullRefused { collection, refusal } => {
                if refusal.code != RefusalCode::CheckpointUnknown {
                    // What cannot be read does not keep the rest from being live.
                    self.status.caught_up(collection);
                }
                self.handle(Event::PullRefused { collection, refusal });
                self.status.advance();
            }
            Notice::Answered(answer) => self.handle(Event::Answered(answer)),
            Notice::Refused { number, collection, refusal } => {
                self.handle(Event::PushRefused { number, collection, refusal });
            }
            Notice::Dropped { number, .. } => self.handle(Event::PushDropped(number)),
        }
    }

    fn tell_reason(&mut self, reason: &Reason) {
        match reason {
            Reason::Unauthenticated(message) => {
                let message = format!("the deployment does not accept the token: {message}");
                self.fail(FailureKind::Unauthenticated, None, None, message);
            }
            Reason::BadUrl(message) => {
                let message = format!(
                    "the deployment's address is not usable: {message}. Give one such as https://happy-otter-123.convex.cloud"
                );
                self.fail(FailureKind::Deployment, None, None, message);
            }
            Reason::Asked | Reason::Unreachable(_) | Reason::Lost(_) | Reason::Store(_) => {}
        }
    }

    /// How long until the replica has something to do that waits for the time.
    pub(super) fn due(&self) -> Option<Duration> {
        let wait = self.replica.due()? - (self.surroundings.now)();
        Some(Duration::from_millis(wait.try_into().unwrap_or(0)))
    }

    pub(super) fn handle(&mut self, event: Event) {
        let now = (self.surroundings.now)();
        self.replica.handle(event, now);
        while let Some(effect) = self.replica.poll() {
            self.carry_out(effect);
        }
        self.status.has(self.replica.unsent(), self.replica.documents());
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Deliver(delta) => self.deliver(delta),
            Effect::Load(document) => self.disk.request(DiskRequest::Load(document)),
            Effect::Write(id, write) => self.disk.request(DiskRequest::Write(id, write)),
            Effect::Edited(edit, write) => self.status.edited(edit, write),
            Effect::Identify { epoch } => {
                if let Some(deployment) = self.deployment.clone() {
                    self.disk.request(DiskRequest::Remote { deployment, epoch: Some(epoch) });
                }
            }
            Effect::Forget(remote) => {
                if let Some(deployment) = self.deployment.clone() {
                    self.disk.request(DiskRequest::Forget { deployment, remote });
                }
            }
            Effect::ReadUnsent { collection, documents, history, read } => {
                let remote = self.remote;
                self.disk.request(DiskRequest::ReadUnsent { collection, documents, history, remote, read });
            }
            Effect::Subscribe { collection, checkpoint } => {
                self.behind(collection);
                if let Some(transport) = &self.transport {
                    transport.request(Request::Subscribe { collection, checkpoint });
                }
            }
            Effect::Read(collection) => {
                self.status.caught_up(collection);
                self.status.advance();
                if self.read.insert(collection) {
                    self.report(Report::Read { collection, read: true });
                }
            }
            Effect::Compared { document, capture, fields } => {
                self.report(Report::Compared { document, capture, fields });
            }
            Effect::Push(push) => {
                if let Some(transport) = &self.transport {
                    transport.request(Request::Push(push));
                }
            }
            Effect::Failed { kind, collection, document, message } => self.fail(kind, collection, document, message),
        }
    }

    /// A collection is read anew.
    fn behind(&mut self, collection: CollectionIndex) {
        self.status.behind(collection);
        if self.read.remove(&collection) {
            self.report(Report::Read { collection, read: false });
        }
    }

    /// There may be more at the deployment than we know of.
    fn unread(&mut self) {
        for collection in std::mem::take(&mut self.read) {
            self.report(Report::Read { collection, read: false });
        }
    }

    fn deliver(&mut self, delta: Delta) {
        let Delta { document, generation, seen, value, origin } = delta;
        let Some(collection) = self.collections.get(document.collection.0 as usize) else { return };
        let decode = |value: Value| {
            let codec = &collection.codec;
            format::guarded_type("Codec", "the front end", || Ok(codec.decode(&value)))
        };
        let decoded = match value.map(decode).transpose() {
            Ok(decoded) => decoded,
            // The front end goes on showing what it has.
            Err(problem) => return self.misfit(&document, vec![problem]),
        };
        let (mut problems, mut components) = (Vec::new(), 0);
        let content = decoded.map(|decoded| {
            (problems, components) = (decoded.problems, decoded.misfits);
            decoded.content
        });
        let misfit = (components != 0).then(|| Box::new(Misfit { components, problems: problems.clone() }));
        self.misfit(&document, problems);
        self.report(Report::Delta { document, generation, seen, content, misfit, origin });
    }

    /// Tells what does not fit of a version, once until one fits.
    fn misfit(&mut self, document: &DocumentKey, problems: Vec<FormatError>) {
        if problems.is_empty() {
            self.misfits.remove(document);
        } else if self.misfits.insert(document.clone()) {
            for problem in problems {
                let message = format!("the document does not fit the component, which is left as it is: {problem}");
                self.fail(FailureKind::Misfit, Some(document.collection), Some(document.id.clone()), message);
            }
        }
    }

    /// Nothing can be kept any more, so nothing is sent or taken in.
    pub(super) fn stop(&mut self, message: String) {
        self.transport = None;
        self.notices = None;
        self.report(Report::Stopped(Failure { kind: FailureKind::Store, collection: None, document: None, message }));
    }

    pub(super) fn tell_status(&mut self) {
        if let Some(status) = self.status.news() {
            self.report(Report::Status(status));
        }
    }

    pub(super) fn fail(
        &mut self,
        kind: FailureKind,
        collection: Option<CollectionIndex>,
        document: Option<DocumentId>,
        message: String,
    ) {
        let collection = collection.and_then(|index| Some(self.collections.get(index.0 as usize)?.name.clone()));
        self.report(Report::Failed(Failure { kind, collection, document, message }));
    }

    /// Whether the store has told all it has: only then are commands taken in.
    #[cfg(feature = "simulation")]
    pub(super) fn is_filled(&self) -> bool {
        self.status.is_filled()
    }

    #[cfg(feature = "simulation")]
    pub(super) fn replica(&self) -> &Replica {
        &self.replica
    }

    fn report(&self, report: Report) {
        // Nobody listens while the app ends.
        let _ = self.reports.send(report);
    }
}
