//! The store's thread: everything that waits is written as one transaction.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    CollectionIndex, DocumentKey,
    replica::{self, Event, RemoteState, UnsentChange, UnsentDocument, WriteId},
    store::{ChunkKind, RemoteId, Store, StoreError, Write},
    worker::FailureKind,
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
/// How often documents are compacted where there is always something to do.
const COMPACT_EVERY: Duration = Duration::from_secs(10);
/// Documents compacted then: edits wait meanwhile.
const COMPACT_WHILE_BUSY: usize = 4;
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
    },
    /// The store is to be set aside before it is opened the next time.
    Rebuild,
}

/// What the store's thread answers.
pub(super) enum DiskAnswer {
    /// The store is open; its documents follow.
    Open,
    /// Everything of a collection was told.
    Filled(CollectionIndex),
    Event(Event),
    /// Something does not work and will be tried again.
    Failed(FailureKind, String),
    /// It works again.
    Recovered,
}

impl DiskAnswer {
    fn failed(error: &StoreError) -> Self {
        let kind = if error.is_damage() { FailureKind::DamagedStore } else { FailureKind::Store };
        Self::Failed(kind, error.to_string())
    }
}

/// The thread's side.
pub(super) struct Disk {
    pub(super) path: PathBuf,
    pub(super) collections: Vec<String>,
    pub(super) requests: Receiver<DiskRequest>,
    pub(super) answers: UnboundedSender<DiskAnswer>,
    /// Closed when the app ends.
    pub(super) open_while: Receiver<()>,
    /// True when a damaged store is to be set aside.
    pub(super) rebuild: Arc<AtomicBool>,
}

impl Disk {
    /// Runs until the requests end, then gives what waits to the disk.
    pub(super) fn run(self) {
        let Some(mut store) = self.open() else { return };
        self.fill(&store);
        let mut remote_in_use = None;
        // What could not be answered; the newest question is the one that counts.
        let mut unanswered: Option<(DiskRequest, Instant)> = None;
        let mut compacted = Instant::now();
        loop {
            // An app that is never idle would grow for ever.
            if compacted.elapsed() >= COMPACT_EVERY {
                self.compact(&mut store, remote_in_use, COMPACT_WHILE_BUSY);
                compacted = Instant::now();
            }
            if let Some((request, _)) = unanswered.take_if(|(_, tried)| tried.elapsed() >= RETRY) {
                match self.answer(&mut store, request, &mut remote_in_use) {
                    Ok(()) => self.tell(DiskAnswer::Recovered),
                    Err(again) => unanswered = Some((again.0, Instant::now())),
                }
            }
            let first = match self.requests.recv_timeout(if unanswered.is_some() { RETRY } else { IDLE }) {
                Ok(request) => request,
                Err(RecvTimeoutError::Timeout) => {
                    self.compact(&mut store, remote_in_use, COMPACT_AT_ONCE);
                    compacted = Instant::now();
                    if let Err(error) = store.reclaim() {
                        tracing::warn!(target: "bevy_convex_replicate::store", %error, "cannot give back free space");
                    }
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut writes = Vec::new();
            let mut next = Some(first);
            while let Some(request) = next.take() {
                match request {
                    DiskRequest::Write(id, write) => writes.push((id, write)),
                    other => {
                        self.commit(&mut store, &mut writes);
                        if let Err(again) = self.answer(&mut store, other, &mut remote_in_use) {
                            let (request, problem) = *again;
                            self.tell(DiskAnswer::failed(&problem));
                            unanswered = Some((request, Instant::now()));
                        }
                    }
                }
                if writes.len() < BATCH_WRITES {
                    next = self.requests.try_recv().ok();
                }
            }
            self.commit(&mut store, &mut writes);
        }
    }

    fn open(&self) -> Option<Store> {
        let mut told = None;
        if Store::wants_rebuild(&self.path) {
            self.set_aside();
        }
        loop {
            match Store::open(&self.path) {
                Ok(store) => {
                    if told.is_some() {
                        self.tell(DiskAnswer::Recovered);
                    }
                    self.tell(DiskAnswer::Open);
                    return Some(store);
                }
                Err(error) if error.is_damage() && self.rebuild.swap(false, Ordering::AcqRel) => {
                    if self.set_aside() {
                        continue;
                    }
                }
                Err(error) => {
                    let message = error.to_string();
                    if told.as_ref() != Some(&message) {
                        self.tell(DiskAnswer::failed(&error));
                        told = Some(message);
                    }
                }
            }
            if let Err(RecvTimeoutError::Disconnected) = self.open_while.recv_timeout(RETRY) {
                return None;
            }
        }
    }

    fn set_aside(&self) -> bool {
        let done = Store::set_aside(&self.path);
        match &done {
            Ok(set_aside) => {
                tracing::warn!(target: "bevy_convex_replicate::store", %set_aside, "a damaged store was set aside");
                for lost in &set_aside.lost {
                    tracing::warn!(target: "bevy_convex_replicate::store", %lost, "not readable");
                }
                self.tell(DiskAnswer::Failed(FailureKind::SetAside, set_aside.to_string()));
            }
            Err(error) => self.tell(DiskAnswer::failed(error)),
        }
        done.is_ok()
    }

    /// An open store is in use: what is damaged in it has to wait.
    fn rebuild_next_time(&self, store: &Store) {
        // Otherwise it was asked for while the store was refused, and has been done.
        let asked = self.rebuild.load(Ordering::Acquire);
        if asked && let Err(error) = store.ask_for_rebuild() {
            self.tell(DiskAnswer::failed(&error));
        }
    }

    /// Tells of a document that cannot be read.
    fn damaged(&self, store: &Store, error: &StoreError) {
        self.tell(DiskAnswer::failed(error));
        if error.is_damage() {
            self.rebuild_next_time(store);
        }
    }

    fn fill(&self, store: &Store) {
        for (index, collection) in self.collections.iter().enumerate() {
            let name = CollectionIndex(index as u16);
            let mut after = None;
            loop {
                match store.documents(collection, after.as_ref(), FILL_PAGE) {
                    Ok(documents) => {
                        let more = documents.len() == FILL_PAGE;
                        after = documents.last().map(|document| document.id.clone());
                        self.tell(DiskAnswer::Event(Event::Opened { collection: name, documents }));
                        if !more {
                            break;
                        }
                    }
                    Err(error) => {
                        self.tell(DiskAnswer::failed(&error));
                        break;
                    }
                }
            }
            for damaged in store.take_damaged() {
                self.damaged(store, &damaged);
            }
            self.tell(DiskAnswer::Filled(name));
        }
    }

    /// Writes all of it, however long that takes: an edit is never given up while the app runs.
    fn commit(&self, store: &mut Store, writes: &mut Vec<(WriteId, Write)>) {
        let Some(&(last, _)) = writes.last() else { return };
        let batch: Vec<Write> = writes.drain(..).map(|(_, write)| write).collect();
        self.commit_batch(store, &batch);
        self.tell(DiskAnswer::Event(Event::Written(last)));
    }

    fn commit_batch(&self, store: &mut Store, batch: &[Write]) {
        let mut tries = 0;
        let mut told = false;
        while let Err(error) = store.commit(batch) {
            if matches!(error, StoreError::Rejected { .. }) {
                return self.commit_without_the_rejected(store, batch, &error);
            }
            if !told {
                self.tell(DiskAnswer::failed(&error));
                told = true;
            }
            if let Err(RecvTimeoutError::Disconnected) = self.open_while.recv_timeout(RETRY) {
                tries += 1;
                if tries > LAST_TRIES {
                    tracing::error!(target: "bevy_convex_replicate::store", %error, writes = batch.len(), "the app ends and these writes are lost");
                    return;
                }
                std::thread::sleep(RETRY);
            }
        }
        if told {
            self.tell(DiskAnswer::Recovered);
        }
    }

    /// One write that can never be carried out must not hold up the others.
    fn commit_without_the_rejected(&self, store: &mut Store, batch: &[Write], error: &StoreError) {
        if batch.len() == 1 {
            return self.tell(DiskAnswer::failed(error));
        }
        let (left, right) = batch.split_at(batch.len() / 2);
        self.commit_batch(store, left);
        self.commit_batch(store, right);
    }

    /// Answers a request, or gives it back if it is to be tried again: pages wait for what is known of a deployment, and nobody would ask
    /// for it a second time.
    fn answer(
        &self,
        store: &mut Store,
        request: DiskRequest,
        remote_in_use: &mut Option<RemoteId>,
    ) -> Result<(), Box<(DiskRequest, StoreError)>> {
        let answer = match &request {
            DiskRequest::Write(..) => return Ok(()),
            DiskRequest::Rebuild => {
                self.rebuild_next_time(store);
                return Ok(());
            }
            DiskRequest::Load(document) => self.load(store, document.clone()),
            DiskRequest::Remote { deployment, epoch } => self.remote(store, deployment, epoch.clone(), remote_in_use),
            DiskRequest::Forget { deployment, remote } => {
                store.forget(*remote).and_then(|()| self.remote(store, deployment, None, remote_in_use))
            }
            DiskRequest::ReadUnsent { collection, documents, history, remote } => {
                self.unsent(store, *collection, documents.clone(), history.clone(), *remote)
            }
        };
        match answer {
            Ok(event) => self.tell(DiskAnswer::Event(event)),
            Err(error) if matches!(request, DiskRequest::Remote { .. } | DiskRequest::Forget { .. }) => {
                return Err(Box::new((request, error)));
            }
            Err(error) => self.tell(DiskAnswer::failed(&error)),
        }
        Ok(())
    }

    fn load(&self, store: &Store, document: DocumentKey) -> Result<Event, StoreError> {
        let collection = self.name(document.collection);
        let chunks = match store.chunks(collection, &document.id) {
            Ok(chunks) => chunks.into_iter().map(|chunk| chunk.bytes).collect(),
            Err(error) => {
                // What waits for it must not wait forever.
                self.damaged(store, &error);
                vec![Arc::from(&b"unreadable"[..])]
            }
        };
        Ok(Event::Loaded { document, chunks })
    }

    fn remote(
        &self,
        store: &mut Store,
        deployment: &str,
        epoch: Option<String>,
        remote_in_use: &mut Option<RemoteId>,
    ) -> Result<Event, StoreError> {
        let remote = match &epoch {
            Some(epoch) => Some(store.remote(deployment, epoch)?),
            None => store.last_remote(deployment)?,
        };
        *remote_in_use = remote;
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
        store: &Store,
        collection: CollectionIndex,
        documents: Vec<crate::DocumentId>,
        history: Vec<bool>,
        remote: Option<RemoteId>,
    ) -> Result<Event, StoreError> {
        let name = self.name(collection);
        let mut unsent = Vec::with_capacity(documents.len());
        for (id, history) in documents.into_iter().zip(history) {
            match read_unsent(store, name, id, remote.filter(|_| !history)) {
                Ok(document) => unsent.push(document),
                // The others must not wait for it.
                Err(error @ StoreError::DamagedDocument { .. }) => self.damaged(store, &error),
                Err(error) => return Err(error),
            }
        }
        Ok(Event::Unsent { collection, documents: unsent })
    }

    fn compact(&self, store: &mut Store, remote: Option<RemoteId>, most: usize) {
        let Some(remote) = remote else { return };
        let documents = match store.compactable(remote, most) {
            Ok(documents) => documents,
            Err(error) => {
                return tracing::warn!(target: "bevy_convex_replicate::store", %error, "cannot look for documents to compact");
            }
        };
        for (collection, id) in documents {
            if let Err(error) = store.compact(&collection, &id, remote) {
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

/// A document's changes that `remote` lacks (all of them without one), snapshots taken apart: the wire's unit is one change.
fn read_unsent(
    store: &Store,
    collection: &str,
    id: crate::DocumentId,
    remote: Option<RemoteId>,
) -> Result<UnsentDocument, StoreError> {
    let unsent = store.unsent_changes(collection, &id, remote)?;
    let names: Option<BTreeSet<String>> = if !unsent.complete {
        // What is missing may say something else.
        None
    } else if unsent.whole {
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
