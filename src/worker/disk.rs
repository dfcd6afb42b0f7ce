//! The store's thread: everything that waits is written as one transaction.

use std::{
    collections::{BTreeSet, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    CollectionIndex, DocumentKey, limits,
    replica::{self, Event, RemoteState, UnsentChange, UnsentDocument, WriteId},
    store::{ChunkKind, RemoteId, Store, StoreError, Write},
};

/// Documents read at once when the world is filled: the first of them are shown while the next are read.
const FILL_PAGE: usize = 500;
/// A store that cannot be opened or written is tried again this often: the other process may end, the disk may get room.
const RETRY: Duration = Duration::from_secs(1);
/// How often a store that cannot be written is tried when the app ends, before what waits is given up with an error.
const LAST_TRIES: u32 = 5;
/// Writes in one transaction: bounds how long a reader waits behind it.
const BATCH_WRITES: usize = 4_096;
/// With nothing to do for this long, documents with many changes are compacted.
const IDLE: Duration = Duration::from_secs(5);
/// Documents compacted before looking for work again.
const COMPACT_AT_ONCE: usize = 16;

/// What the store's thread is asked for.
pub(super) enum DiskRequest {
    Write(WriteId, Write),
    Load(DocumentKey),
    /// What is stored of the deployment, by its epoch if that is known.
    Remote {
        deployment: String,
        epoch: Option<String>,
    },
    Forget {
        deployment: String,
        remote: RemoteId,
    },
    ReadUnsent {
        collection: CollectionIndex,
        documents: Vec<crate::DocumentId>,
        history: Vec<bool>,
        remote: Option<RemoteId>,
        read: u64,
    },
}

/// What the store's thread answers.
pub(super) enum DiskAnswer {
    /// The store is open; its documents follow.
    Open,
    /// Everything of a collection was told.
    Filled(CollectionIndex),
    Event(Event),
    /// Something does not work and will be tried again.
    Failed(String),
    /// It works again.
    Recovered,
}

/// The thread's side.
pub(super) struct Disk {
    pub(super) path: PathBuf,
    pub(super) collections: Vec<String>,
    pub(super) requests: Receiver<DiskRequest>,
    pub(super) answers: UnboundedSender<DiskAnswer>,
    /// Closed when the app ends.
    pub(super) open_while: Receiver<()>,
}

impl Disk {
    /// Runs until the requests end, then gives what waits to the disk.
    pub(super) fn run(self) {
        let Some(store) = self.open() else { return };
        let mut work = DiskWork::new(store, self.collections.clone(), self.answers.clone());
        work.fill();
        loop {
            match self.requests.recv_timeout(IDLE) {
                Ok(first) => work.take(first),
                Err(RecvTimeoutError::Timeout) => {
                    work.compact();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while work.has_room()
                && let Ok(next) = self.requests.try_recv()
            {
                work.take(next);
            }
            self.carry_out(&mut work);
        }
    }

    /// Carries out what waits, however long that takes: an edit is never given up while the app runs.
    fn carry_out(&self, work: &mut DiskWork) {
        let mut tries = 0;
        while !work.carry_out() {
            if let Err(RecvTimeoutError::Disconnected) = self.open_while.recv_timeout(RETRY) {
                tries += 1;
                if tries > LAST_TRIES {
                    return work.give_up();
                }
                std::thread::sleep(RETRY);
            }
        }
    }

    fn open(&self) -> Option<Store> {
        let mut told = None;
        loop {
            match Store::open(&self.path) {
                Ok(store) => {
                    if told.is_some() {
                        self.tell(DiskAnswer::Recovered);
                    }
                    return Some(store);
                }
                Err(error) => {
                    let message = error.to_string();
                    if told.as_ref() != Some(&message) {
                        self.tell(DiskAnswer::Failed(message.clone()));
                        told = Some(message);
                    }
                }
            }
            if let Err(RecvTimeoutError::Disconnected) = self.open_while.recv_timeout(RETRY) {
                return None;
            }
        }
    }

    fn tell(&self, answer: DiskAnswer) {
        // The worker listens until this thread has ended.
        let _ = self.answers.send(answer);
    }
}

/// Turns requests into transactions and answers. Knows neither thread nor clock, so that the simulator drives it as well.
pub(super) struct DiskWork {
    store: Store,
    collections: Vec<String>,
    answers: UnboundedSender<DiskAnswer>,
    waiting: VecDeque<DiskRequest>,
    /// Writes that are to be one transaction, and the name of the last.
    writes: Vec<Write>,
    last: WriteId,
    remote_in_use: Option<RemoteId>,
    /// The store refused a write that is tried again, which was told.
    failing: bool,
}

impl DiskWork {
    pub(super) fn new(store: Store, collections: Vec<String>, answers: UnboundedSender<DiskAnswer>) -> Self {
        let work = Self {
            store,
            collections,
            answers,
            waiting: VecDeque::new(),
            writes: Vec::new(),
            last: 0,
            remote_in_use: None,
            failing: false,
        };
        work.tell(DiskAnswer::Open);
        work
    }

    /// Tells all documents there are.
    pub(super) fn fill(&self) {
        let page = limits::or_tiny(FILL_PAGE, 2);
        for (index, collection) in self.collections.iter().enumerate() {
            let name = CollectionIndex(index as u16);
            let mut after = None;
            loop {
                match self.store.documents(collection, after.as_ref(), page) {
                    Ok(documents) => {
                        let more = documents.len() == page;
                        after = documents.last().map(|document| document.id.clone());
                        self.tell(DiskAnswer::Event(Event::Opened { collection: name, documents }));
                        if !more {
                            break;
                        }
                    }
                    Err(error) => {
                        self.tell(DiskAnswer::Failed(error.to_string()));
                        break;
                    }
                }
            }
            for damaged in self.store.take_damaged() {
                self.tell(DiskAnswer::Failed(damaged.to_string()));
            }
            self.tell(DiskAnswer::Filled(name));
        }
    }

    /// Takes a request, to be carried out after those before.
    pub(super) fn take(&mut self, request: DiskRequest) {
        self.waiting.push_back(request);
    }

    /// Whether more requests are worth waiting for before they are carried out.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < BATCH_WRITES
    }

    /// Carries out what waits: writes that follow one another in one transaction. False if the store refuses that for now: what is left waits,
    /// to be tried again.
    pub(super) fn carry_out(&mut self) -> bool {
        let batch = limits::or_tiny(BATCH_WRITES, 3);
        while let Some(request) = self.waiting.pop_front() {
            match request {
                DiskRequest::Write(id, write) => {
                    self.writes.push(write);
                    self.last = id;
                }
                other => {
                    if !self.commit() {
                        self.waiting.push_front(other);
                        return false;
                    }
                    if let Some(again) = self.answer(other) {
                        self.waiting.push_front(again);
                        return false;
                    }
                }
            }
            if self.writes.len() >= batch && !self.commit() {
                return false;
            }
        }
        self.commit()
    }

    /// Writes what is collected, and tells when all of it is on the disk.
    fn commit(&mut self) -> bool {
        if self.writes.is_empty() {
            return true;
        }
        // One write that can never be carried out must not hold up the others: it is found by halves.
        let mut size = self.writes.len();
        while !self.writes.is_empty() {
            match self.store.commit(&self.writes[..size]) {
                Ok(()) => {
                    self.writes.drain(..size);
                    size = self.writes.len();
                }
                Err(StoreError::Rejected { .. }) if size > 1 => size /= 2,
                Err(error @ StoreError::Rejected { .. }) => {
                    self.tell(DiskAnswer::Failed(error.to_string()));
                    self.writes.remove(0);
                    size = self.writes.len();
                }
                Err(error) => {
                    self.refused(&error);
                    return false;
                }
            }
        }
        self.works();
        self.tell(DiskAnswer::Event(Event::Written(self.last)));
        true
    }

    /// The store refuses what is tried again: that is told once.
    fn refused(&mut self, error: &StoreError) {
        if !std::mem::replace(&mut self.failing, true) {
            self.tell(DiskAnswer::Failed(error.to_string()));
        }
    }

    fn works(&mut self) {
        if std::mem::take(&mut self.failing) {
            self.tell(DiskAnswer::Recovered);
        }
    }

    /// The app ends while the store refuses to be written.
    fn give_up(&mut self) {
        let writes = self.writes.len() + self.waiting.len();
        tracing::error!(target: "bevy_convex_replicate::store", writes, "the app ends and these writes are lost");
        self.writes.clear();
        self.waiting.clear();
    }

    /// Answers a request, or gives it back to be tried again: the replica pulls and pushes nothing before it knows the remote.
    fn answer(&mut self, request: DiskRequest) -> Option<DiskRequest> {
        let answer = match request {
            DiskRequest::Write(..) => return None,
            DiskRequest::Load(document) => self.load(document),
            DiskRequest::Remote { .. } | DiskRequest::Forget { .. } => {
                return match self.identify(&request) {
                    Ok(event) => {
                        self.works();
                        self.tell(DiskAnswer::Event(event));
                        None
                    }
                    Err(error) => {
                        self.refused(&error);
                        Some(request)
                    }
                };
            }
            DiskRequest::ReadUnsent { collection, documents, history, remote, read } => self
                .unsent(collection, documents, history, remote)
                .map(|documents| Event::Unsent { collection, documents, read }),
        };
        match answer {
            Ok(event) => self.tell(DiskAnswer::Event(event)),
            Err(error) => self.tell(DiskAnswer::Failed(error.to_string())),
        }
        None
    }

    fn identify(&mut self, request: &DiskRequest) -> Result<Event, StoreError> {
        match request {
            DiskRequest::Forget { deployment, remote } => {
                self.store.forget(*remote)?;
                self.remote(deployment, None)
            }
            DiskRequest::Remote { deployment, epoch } => self.remote(deployment, epoch.clone()),
            // Nobody else asks.
            _ => Ok(Event::Retry),
        }
    }

    fn load(&self, document: DocumentKey) -> Result<Event, StoreError> {
        let collection = self.name(document.collection);
        let chunks = match self.store.chunks(collection, &document.id) {
            Ok(chunks) => chunks.into_iter().map(|chunk| chunk.bytes).collect(),
            Err(error) => {
                // What waits for it must not wait forever.
                self.tell(DiskAnswer::Failed(error.to_string()));
                vec![Arc::from(&b"unreadable"[..])]
            }
        };
        Ok(Event::Loaded { document, chunks })
    }

    fn remote(&mut self, deployment: &str, epoch: Option<String>) -> Result<Event, StoreError> {
        let store = &mut self.store;
        let remote = match &epoch {
            Some(epoch) => Some(store.remote(deployment, epoch)?),
            None => store.last_remote(deployment)?,
        };
        self.remote_in_use = remote;
        let mut state = RemoteState { remote, ..RemoteState::default() };
        for collection in &self.collections {
            let checkpoint = match remote {
                Some(remote) => store.checkpoint(remote, collection)?,
                None => None,
            };
            state.checkpoints.push(checkpoint.unwrap_or_default());
            state.unsent.push(store.unsent(collection, remote, usize::MAX)?);
        }
        Ok(Event::Remote { epoch, state })
    }

    fn unsent(
        &self,
        collection: CollectionIndex,
        documents: Vec<crate::DocumentId>,
        history: Vec<bool>,
        remote: Option<RemoteId>,
    ) -> Result<Vec<UnsentDocument>, StoreError> {
        let name = self.name(collection);
        let mut unsent = Vec::with_capacity(documents.len());
        for (id, history) in documents.into_iter().zip(history) {
            unsent.push(read_unsent(&self.store, name, id, remote.filter(|_| !history))?);
        }
        Ok(unsent)
    }

    /// Compacts a few documents with many changes. To be called when there is nothing else to do.
    pub(super) fn compact(&mut self) {
        let Some(remote) = self.remote_in_use else { return };
        let documents = match self.store.compactable(remote, COMPACT_AT_ONCE) {
            Ok(documents) => documents,
            Err(error) => {
                return tracing::warn!(target: "bevy_convex_replicate::store", %error, "cannot look for documents to compact");
            }
        };
        for (collection, id) in documents {
            if let Err(error) = self.store.compact(&collection, &id, remote) {
                tracing::warn!(target: "bevy_convex_replicate::store", %error, collection, document = %id, "a document was not compacted");
            }
        }
    }

    fn name(&self, collection: CollectionIndex) -> &str {
        self.collections.get(collection.0 as usize).map_or("", String::as_str)
    }

    fn tell(&self, answer: DiskAnswer) {
        // The worker listens until this thread has ended.
        let _ = self.answers.send(answer);
    }
}

#[cfg(feature = "simulation")]
impl DiskWork {
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// As [`compact`](Self::compact), for documents of any length.
    pub(super) fn compact_one(&mut self, collection: &str, id: &crate::DocumentId) -> Result<bool, StoreError> {
        match self.remote_in_use {
            Some(remote) => self.store.compact(collection, id, remote),
            None => Ok(false),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.writes.is_empty()
    }
}

/// A document's changes that `remote` lacks (all of them without one), snapshots taken apart: the wire's unit is one change.
fn read_unsent(
    store: &Store,
    collection: &str,
    id: crate::DocumentId,
    remote: Option<RemoteId>,
) -> Result<UnsentDocument, StoreError> {
    let unsent = store.unsent_changes(collection, &id, remote)?;
    let whole = unsent.changes.len() == store.chunks(collection, &id)?.len();
    let names: Option<BTreeSet<String>> = if whole {
        unsent.value.as_map().map(|map| map.keys().cloned().collect())
    } else {
        unsent
            .changes
            .iter()
            .map(|change| change.fields.clone())
            .collect::<Option<Vec<_>>>()
            .map(|names| names.into_iter().flatten().collect())
    };
    let fields =
        names.map(|names| names.into_iter().map(|name| (name.clone(), unsent.value.get(&name).cloned())).collect());
    let mut changes = Vec::new();
    for change in unsent.changes {
        match change.kind {
            ChunkKind::Change => {
                changes.push(UnsentChange { hash: change.hash, row: change.hash, bytes: change.bytes })
            }
            ChunkKind::Snapshot => changes.extend(replica::changes_of(change.hash, &change.bytes)),
        }
    }
    Ok(UnsentDocument { id, changes, fields })
}

/// Sends requests to the store's thread.
#[derive(Clone)]
pub(super) struct DiskHandle(pub(super) Sender<DiskRequest>);

impl DiskHandle {
    pub(super) fn request(&self, request: DiskRequest) {
        // The thread takes requests until this handle is dropped.
        let _ = self.0.send(request);
    }
}
