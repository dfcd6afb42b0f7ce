//! A running worker: events go to the replica, and its effects go to the store, the transport and the front end.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::mpsc;

use super::{
    CollectionConfig, Command, Encode, Failure, FailureKind, MisfitParts, Report, Reports, WorkerConfig,
    disk::{DiskAnswer, DiskHandle},
    presence::{Presences, Problem},
    status::StatusTracker,
    waiting::{Taken, Waiting},
};
use crate::{
    CollectionIndex, DocumentId, DocumentKey,
    format::{self, FormatError, Value},
    record::{FromBackend, RefusalCode, ToBackend},
    replica::{CollectionSchema, Delta, Edit, EditNumber, Effect, Event, Lookup, Replica, StoreRequest, WriteId},
    status::Reason,
    transport::{Notice, Request, Transport, TransportConfig},
};

/// The inputs that the surrounding program gives a worker.
pub(super) struct Environment {
    /// Another one in each run of the program.
    pub(super) actor: [u8; 16],
    /// Milliseconds since 1970.
    pub(super) now: Box<dyn Fn() -> i64>,
    /// Starts to talk to a deployment.
    pub(super) connect: Box<dyn FnMut(TransportConfig) -> (Transport, mpsc::Receiver<Notice>)>,
}

impl Environment {
    pub(super) fn real() -> Self {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as i64);
        Self { actor: uuid::Uuid::new_v4().into_bytes(), now: Box::new(now), connect: Box::new(Transport::start) }
    }
}

pub(super) struct Running {
    environment: Environment,
    pub(super) replica: Replica,
    collections: Vec<CollectionConfig>,
    disk: DiskHandle,
    pub(super) reports: Reports,
    pub(super) transport: Option<Transport>,
    pub(super) notices: Option<mpsc::Receiver<Notice>>,
    /// `None` without a deployment.
    transport_config: Option<TransportConfig>,
    online: bool,
    pub(super) presences: Presences,
    pub(super) status: StatusTracker,
    waiting: Waiting,
    /// Whether the front end is gone.
    is_ending: bool,
    /// For an edit that stands for others, the numbers of these.
    merged: HashMap<EditNumber, Vec<EditNumber>>,
    /// Versions of documents whose edits wait for their time. A version without these edits would take the entity back
    /// to what it was before them.
    held: BTreeMap<DocumentKey, Delta>,
    /// Documents whose misfit was reported.
    misfits: HashSet<DocumentKey>,
    /// The collections whose whole content at the deployment was reported.
    read: BTreeSet<CollectionIndex>,
    /// Whether the transport was started. It starts when the store has answered what it knows of the deployment.
    started: bool,
}

impl Running {
    pub(super) fn new(config: WorkerConfig, reports: Reports, disk: DiskHandle, environment: Environment) -> Self {
        let schemas = config
            .collections
            .iter()
            .map(|collection| CollectionSchema { name: collection.name.clone(), schema: collection.codec.clone() })
            .collect();
        let transport_config = config.deployment.clone().map(|url| TransportConfig {
            url,
            auth: config.auth.clone(),
            user: config.user.clone(),
            collections: config.collections.iter().map(|collection| collection.name.clone()).collect(),
            seed: rand::random(),
            session: format!("{:032x}", rand::random::<u128>()),
        });
        let status = StatusTracker::new(config.collections.len());
        let waiting = Waiting::new(config.collections.iter().map(|collection| collection.interval));
        Self {
            replica: Replica::new(environment.actor, schemas, config.deployment.is_some()),
            environment,
            presences: Presences::new(&config),
            collections: config.collections,
            disk,
            reports,
            transport: None,
            notices: None,
            transport_config,
            online: config.online,
            status,
            waiting,
            is_ending: false,
            merged: HashMap::new(),
            held: BTreeMap::new(),
            misfits: HashSet::new(),
            read: BTreeSet::new(),
            started: false,
        }
    }

    /// Takes a command in. [`work_off`](Self::work_off) carries it out.
    pub(super) fn take(&mut self, command: Command) {
        match command {
            Command::Edit(edit) => {
                let number = self.status.edit();
                self.waiting.edit(edit, number, (self.environment.now)());
            }
            command => self.waiting.command(command),
        }
    }

    /// Carries out commands whose turn it is: those of at most `most` documents. Returns whether more could be carried
    /// out now.
    pub(super) fn work_off(&mut self, most: usize) -> bool {
        for _ in 0..most {
            let pressed = |document: &DocumentKey| !self.is_ending && self.replica.is_pressed(document);
            let Some(commands) = self.waiting.next((self.environment.now)(), pressed) else { return false };
            for Taken { command, numbers } in commands {
                self.command(command, numbers);
            }
            if !self.held.is_empty() {
                self.release(|waiting, document| !waiting.is_deferred(document));
            }
        }
        self.waiting.is_ready()
    }

    /// The app ends: no edit waits any longer.
    pub(super) fn hurry(&mut self) {
        self.is_ending = true;
        self.waiting.hurry_all();
    }

    /// Delivers versions that were held.
    fn release(&mut self, which: impl Fn(&Waiting, &DocumentKey) -> bool) {
        let waiting = &self.waiting;
        let released: Vec<_> = self.held.extract_if(.., |document, _| which(waiting, document)).collect();
        for (_, delta) in released {
            self.show(delta);
        }
    }

    fn command(&mut self, command: Command, numbers: Vec<EditNumber>) {
        match command {
            Command::Edit(edit) => self.edit(edit, numbers),
            Command::Applied(shown) => self.handle(Event::Applied(shown)),
            Command::Kept(kept) => self.handle(Event::Kept(kept)),
            Command::Show(document) => self.handle(Event::Show(document)),
            Command::Online(online) => {
                self.online = online;
                if let Some(transport) = &self.transport {
                    transport.request(Request::Online(online));
                }
            }
            Command::Present(present) => match self.presences.show(present) {
                Ok(showing) => {
                    if let Some(transport) = &self.transport {
                        transport.request(Request::Show(showing));
                    }
                }
                Err((collection, problem)) => self.presence_failed(collection, problem),
            },
            Command::Retry => self.handle(Event::Retry),
            Command::RetryOne(document) => self.handle(Event::RetryOne(document)),
            Command::Discard(document) => self.handle(Event::Discard(document)),
            Command::RebuildStore => self.disk.request(StoreRequest::Rebuild),
        }
    }

    fn edit(&mut self, Edit { document, generation, seq, kind }: Edit<Box<dyn Encode>>, mut numbers: Vec<EditNumber>) {
        // Each edit has a number.
        let number = numbers.pop().unwrap_or_default();
        if !numbers.is_empty() {
            self.merged.insert(number, numbers);
        }
        let encode = |value: Box<dyn Encode>| {
            let encoded = format::guarded_type("Encode", "the front end", || value.encode())?;
            self.waiting.weigh(&document, &encoded.0);
            Ok::<_, FormatError>(encoded)
        };
        match kind.try_map(encode) {
            Ok(kind) => self.handle(Event::Edit(number, Edit { document, generation, seq, kind })),
            Err(error) => {
                let message = format!("the edit was not taken in: {error}");
                let (collection, id) = (document.collection, document.id.clone());
                self.fail(FailureKind::Unwritable, Some(collection), Some(id), message);
                self.edited(number, 0);
                self.report(Report::Compared { document: document.clone(), seq, fields: Vec::new() });
                self.handle(Event::Unwritable { document, seq });
            }
        }
    }

    /// An edit is durable with this write, and so are those that it stands for.
    fn edited(&mut self, number: EditNumber, write: WriteId) {
        for merged in self.merged.remove(&number).into_iter().flatten() {
            self.status.edited(merged, write);
        }
        self.status.edited(number, write);
    }

    pub(super) fn answered(&mut self, answer: DiskAnswer) {
        match answer {
            DiskAnswer::Open => {
                self.status.opened();
                if self.transport_config.is_some() {
                    self.disk.request(StoreRequest::LookUp(Lookup::LastUsed));
                }
            }
            DiskAnswer::Filled(collection) => {
                self.status.filled(collection);
                self.report(Report::Ready(collection));
                if self.transport_config.is_none() {
                    self.report(Report::Read { collection, read: true });
                }
            }
            DiskAnswer::Failed(failure) => self.report(Report::Failed(failure)),
            DiskAnswer::Stuck(failure) => {
                if !self.started && self.transport_config.is_some() {
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
                    Event::Remote { .. } if !self.started => self.start_transport(),
                    _ => {}
                }
                self.handle(event);
            }
        }
    }

    fn start_transport(&mut self) {
        self.started = true;
        let Some(config) = self.transport_config.clone() else { return };
        self.status.starting();
        let (transport, notices) = (self.environment.connect)(config);
        transport.request(Request::Online(self.online));
        for showing in self.presences.showing() {
            transport.request(Request::Show(showing.clone()));
        }
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
            Notice::Count { collection, documents } => {
                self.status.counted(collection, documents);
            }
            Notice::Backend(answer) => {
                if let FromBackend::PullRefused { collection, refusal } = &answer
                    && refusal.code != RefusalCode::CheckpointUnknown
                {
                    // A collection that cannot be read does not keep the connection from being live.
                    self.status.caught_up(*collection);
                }
                let is_progress = matches!(answer, FromBackend::Page(_) | FromBackend::PullRefused { .. });
                self.handle(Event::Backend(answer));
                if is_progress {
                    self.status.advance();
                }
            }
            Notice::Peers { collection, peers } => {
                let (report, problem) = self.presences.see(collection, peers, (self.environment.now)());
                if let Some(report) = report {
                    self.report(report);
                }
                if let Some(problem) = problem {
                    self.presence_failed(collection, problem);
                }
            }
            Notice::PresenceRefused { collection, refusal } => {
                let message = format!("the deployment refuses presence ({}): {}", refusal.code, refusal.message);
                self.presence_failed(collection, Problem(FailureKind::Presence, message));
            }
            // Only the end of the worker asks for this, and waits for it elsewhere.
            Notice::Left => {}
        }
        let replica = &self.replica;
        self.waiting.relieve(|document| replica.is_pressed(document));
    }

    fn presence_failed(&mut self, collection: CollectionIndex, Problem(kind, message): Problem) {
        self.fail(kind, Some(collection), None, message);
    }

    fn tell_reason(&mut self, reason: &Reason) {
        match reason {
            Reason::Unauthenticated(message) => {
                let message = format!("the deployment does not accept the token: {message}");
                self.fail(FailureKind::Unauthenticated, None, None, message);
            }
            Reason::OtherUser { user, token_of } => {
                let user = if user.is_empty() { "nobody" } else { user };
                let message = format!(
                    "the token callback gave a token of {token_of}, and {user} is signed in: nothing was sent. Sign in as {token_of}, or give a token of \
                     the user who is signed in"
                );
                self.fail(FailureKind::OtherUser, None, None, message);
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

    /// How long until the replica wants [`Event::Due`], or an edit has waited long enough.
    pub(super) fn due(&self) -> Option<Duration> {
        let due = self.replica.due().into_iter().chain(self.waiting.due()).min()?;
        let wait = due.saturating_sub((self.environment.now)());
        Some(Duration::from_millis(wait.try_into().unwrap_or(0)))
    }

    pub(super) fn handle(&mut self, event: Event) {
        let now = (self.environment.now)();
        self.replica.handle(event, now);
        while let Some(effect) = self.replica.poll() {
            self.carry_out(effect);
        }
        self.status.has(self.replica.unsent(), self.replica.documents());
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Deliver(delta) => self.deliver(delta),
            Effect::Store(request) => self.disk.request(request),
            Effect::Edited(edit, write) => self.edited(edit, write),
            Effect::Backend(request) => {
                if let ToBackend::Subscribe { collection, .. } = request {
                    self.behind(collection);
                }
                if let Some(transport) = &self.transport {
                    transport.request(Request::Backend(request));
                }
            }
            Effect::Read(collection) => {
                // Everything that was read is shown before this is said.
                self.release(|_, document| document.collection == collection);
                self.status.caught_up(collection);
                self.status.advance();
                if self.read.insert(collection) {
                    self.report(Report::Read { collection, read: true });
                }
            }
            Effect::Compared { document, seq, fields } => {
                self.report(Report::Compared { document, seq, fields });
            }
            Effect::Refused(document, refused) => self.report(Report::Refused { document, refused }),
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

    /// The deployment may have more than has been read: no collection counts as read.
    fn unread(&mut self) {
        for collection in std::mem::take(&mut self.read) {
            self.report(Report::Read { collection, read: false });
        }
    }

    fn deliver(&mut self, delta: Delta) {
        let document = &delta.document;
        if let Some(value) = &delta.value {
            self.waiting.weigh(document, value);
        }
        // The version takes the place of one that was held.
        self.held.remove(document);
        if self.waiting.is_deferred(document) {
            self.held.insert(document.clone(), delta);
        } else {
            self.show(delta);
        }
    }

    fn show(&mut self, delta: Delta) {
        let Delta { document, generation, seen, value, origin } = delta;
        let Some(collection) = self.collections.get(document.collection.0 as usize) else { return };
        let decode = |value: Value| {
            let codec = &collection.codec;
            format::guarded_type("Codec", "the front end", || Ok(codec.decode(&value)))
        };
        let decoded = match value.map(decode).transpose() {
            Ok(decoded) => decoded,
            // The front end goes on showing the version it has.
            Err(problem) => return self.misfit(&document, vec![problem]),
        };
        let (mut problems, mut components) = (Vec::new(), 0);
        let content = decoded.map(|decoded| {
            (problems, components) = (decoded.problems, decoded.misfits);
            decoded.content
        });
        let misfit = (components != 0).then(|| Box::new(MisfitParts { components, problems: problems.clone() }));
        self.misfit(&document, problems);
        self.report(Report::Delta { document, generation, seen, content, misfit, origin });
    }

    /// Reports the parts of a version that do not fit: once, until a version fits again.
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

    /// Enters the state in which nothing can be stored any more, so nothing is sent or taken in.
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

    /// Whether the store has reported all its documents: only then are commands taken in.
    #[cfg(feature = "simulation")]
    pub(super) fn is_filled(&self) -> bool {
        self.status.is_filled()
    }

    /// Whether an edit waits for its time or its turn.
    #[cfg(feature = "simulation")]
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.due().is_some() || self.waiting.is_ready()
    }

    #[cfg(feature = "simulation")]
    pub(super) fn replica(&self) -> &Replica {
        &self.replica
    }

    fn report(&self, report: Report) {
        self.reports.send(report);
    }
}
