//! What the store's thread does with a request, without the thread.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::mpsc::UnboundedSender;

use super::{DiskAnswer, DiskRequest, batch::Batch, failure};
use crate::{
    CollectionIndex, DocumentId, DocumentKey, limits,
    record::{ChunkKind, Position, RemoteId},
    replica::{self, Event, RemoteState, UnsentChange, UnsentDocument},
    store::{Store, StoreError},
};

/// Documents read at once when the world is filled: the first of them are shown while the next are read.
const FILL_PAGE: usize = 500;
/// Writes in one transaction: bounds how long a reader waits behind it.
const BATCH_WRITES: usize = 4_096;

/// Turns requests into transactions and answers. Knows neither thread nor clock, so that the simulator drives it as well.
pub(in crate::worker) struct DiskWork {
    store: Store,
    collections: Vec<String>,
    answers: UnboundedSender<DiskAnswer>,
    waiting: VecDeque<DiskRequest>,
    batch: Batch,
    remote_in_use: Option<RemoteId>,
    /// The store refused something that is tried again, which was told.
    failing: bool,
    /// Something waits that is to be on the disk as soon as it can be.
    urgent: bool,
    /// What could not be answered; the newest question is the one that counts. Pages wait for what is known of a deployment, and nobody
    /// would ask for it a second time.
    owed: Option<DiskRequest>,
    /// True when a damaged store is to be set aside.
    rebuild: Arc<AtomicBool>,
    /// How often all that was believed of a deployment was forgotten.
    #[cfg(feature = "simulation")]
    forgotten: u32,
}

impl DiskWork {
    pub(in crate::worker) fn new(
        store: Store,
        collections: Vec<String>,
        answers: UnboundedSender<DiskAnswer>,
        rebuild: Arc<AtomicBool>,
    ) -> Self {
        let batch = Batch::new(answers.clone());
        let work = Self {
            store,
            collections,
            answers,
            waiting: VecDeque::new(),
            batch,
            remote_in_use: None,
            failing: false,
            urgent: false,
            owed: None,
            rebuild,
            #[cfg(feature = "simulation")]
            forgotten: 0,
        };
        work.tell(DiskAnswer::Open);
        work
    }

    /// Tells all documents there are.
    pub(in crate::worker) fn fill(&self) {
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
                        self.tell(DiskAnswer::Failed(failure(&error)));
                        break;
                    }
                }
            }
            for damaged in self.store.take_damaged() {
                self.damaged(&damaged);
            }
            self.tell(DiskAnswer::Filled(name));
        }
    }

    /// Takes a request, to be carried out after those before.
    pub(in crate::worker) fn take(&mut self, request: DiskRequest) {
        self.urgent |= !matches!(&request, DiskRequest::Write(_, write) if write.can_wait());
        self.waiting.push_back(request);
    }

    /// Whether nothing is lost by waiting for more before what waits is carried out.
    pub(in crate::worker) fn can_wait(&self) -> bool {
        !self.urgent && self.owed.is_none()
    }

    /// Whether an answer is owed that the store could not give.
    pub(in crate::worker) fn is_owing(&self) -> bool {
        self.owed.is_some()
    }

    /// Whether more requests are worth waiting for before they are carried out.
    pub(in crate::worker) fn has_room(&self) -> bool {
        self.waiting.len() < BATCH_WRITES
    }

    /// Carries out what waits: writes that follow one another in one transaction. False if the store refuses that for now: what is left waits,
    /// to be tried again.
    pub(in crate::worker) fn carry_out(&mut self) -> bool {
        let batch = limits::or_tiny(BATCH_WRITES, 3);
        if let Some(request) = self.owed.take() {
            self.answer(request);
        }
        while let Some(request) = self.waiting.pop_front() {
            match request {
                DiskRequest::Write(name, write) => self.batch.take(name, write),
                other => {
                    if !self.commit() {
                        self.waiting.push_front(other);
                        return false;
                    }
                    self.answer(other);
                }
            }
            if self.batch.len() >= batch && !self.commit() {
                return false;
            }
        }
        let done = self.commit();
        self.urgent &= !done;
        done
    }

    /// Writes what is collected, and tells when all of it is on the disk.
    fn commit(&mut self) -> bool {
        match self.batch.commit(&mut self.store) {
            Ok(Some(last)) => {
                self.works();
                self.tell(DiskAnswer::Event(Event::Written(last)));
            }
            Ok(None) => {}
            Err(error) => {
                self.refused(&error);
                return false;
            }
        }
        true
    }

    /// The store refuses what is tried again: that is told once.
    fn refused(&mut self, error: &StoreError) {
        if !std::mem::replace(&mut self.failing, true) {
            self.tell(DiskAnswer::Stuck(failure(error)));
        }
    }

    fn works(&mut self) {
        if std::mem::take(&mut self.failing) {
            self.tell(DiskAnswer::Recovered);
        }
    }

    /// The app ends while the store refuses to be written.
    pub(in crate::worker) fn give_up(&mut self) {
        let writes = self.batch.len() + self.waiting.len();
        tracing::error!(target: "bevy_convex_replicate::store", writes, "the app ends and these writes are lost");
        self.batch.clear();
        self.waiting.clear();
    }

    fn answer(&mut self, request: DiskRequest) {
        let answer = match request {
            DiskRequest::Write(..) => return,
            DiskRequest::Rebuild => return self.rebuild_next_time(),
            DiskRequest::Load(document) => self.load(document),
            DiskRequest::Remote { .. } | DiskRequest::Forget { .. } => return self.identify(request),
            DiskRequest::ReadUnsent { collection, documents, history, remote, read } => self
                .unsent(collection, documents, history, remote)
                .map(|documents| Event::Unsent { collection, documents, read }),
        };
        match answer {
            Ok(event) => self.tell(DiskAnswer::Event(event)),
            Err(error) => self.tell(DiskAnswer::Failed(failure(&error))),
        }
    }

    fn identify(&mut self, request: DiskRequest) {
        let answer = match &request {
            DiskRequest::Forget { deployment, remote } => self.store.forget(*remote).and_then(|()| {
                #[cfg(feature = "simulation")]
                {
                    self.forgotten += 1;
                }
                self.remote(deployment, None)
            }),
            DiskRequest::Remote { deployment, epoch } => self.remote(deployment, epoch.clone()),
            // Nobody else asks.
            _ => return,
        };
        match answer {
            Ok(event) => {
                self.works();
                self.tell(DiskAnswer::Event(event));
            }
            Err(error) => {
                self.refused(&error);
                self.owed = Some(request);
            }
        }
    }

    /// An open store is in use: what is damaged in it has to wait.
    fn rebuild_next_time(&self) {
        // Otherwise it was asked for while the store was refused, and has been done.
        let asked = self.rebuild.load(Ordering::Acquire);
        if asked && let Err(error) = self.store.ask_for_rebuild() {
            self.tell(DiskAnswer::Failed(failure(&error)));
        }
    }

    /// Tells of a document that cannot be read.
    fn damaged(&self, error: &StoreError) {
        self.tell(DiskAnswer::Failed(failure(error)));
        if error.is_damage() {
            self.rebuild_next_time();
        }
    }

    fn load(&self, document: DocumentKey) -> Result<Event, StoreError> {
        let collection = self.name(document.collection);
        let chunks = match self.store.chunks(collection, &document.id) {
            Ok(chunks) => chunks.into_iter().map(|chunk| chunk.bytes).collect(),
            Err(error) => {
                // What waits for it must not wait forever.
                self.damaged(&error);
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
            let is_unread = checkpoint.is_none_or(|checkpoint| checkpoint.position == Position::default());
            state.unread.push(match remote {
                Some(remote) if is_unread => store.holds_any(remote, collection)?,
                _ => false,
            });
            state.checkpoints.push(checkpoint.unwrap_or_default());
            state.unsent.push(store.unsent(collection, remote, usize::MAX)?);
        }
        Ok(Event::Remote { epoch, state })
    }

    fn unsent(
        &self,
        collection: CollectionIndex,
        documents: Vec<DocumentId>,
        history: Vec<bool>,
        remote: Option<RemoteId>,
    ) -> Result<Vec<UnsentDocument>, StoreError> {
        let name = self.name(collection);
        let mut unsent = Vec::with_capacity(documents.len());
        for (id, history) in documents.into_iter().zip(history) {
            match read_unsent(&self.store, name, id, remote.filter(|_| !history)) {
                Ok(document) => unsent.push(document),
                // The others must not wait for it.
                Err(error @ StoreError::DamagedDocument { .. }) => self.damaged(&error),
                Err(error) => return Err(error),
            }
        }
        Ok(unsent)
    }

    /// Compacts at most so many of the documents with many changes.
    pub(in crate::worker) fn compact(&mut self, most: usize) {
        let Some(remote) = self.remote_in_use else { return };
        let documents = match self.store.compactable(remote, most) {
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

    /// Gives back free space of the file.
    pub(in crate::worker) fn reclaim(&mut self) {
        if let Err(error) = self.store.reclaim() {
            tracing::warn!(target: "bevy_convex_replicate::store", %error, "cannot give back free space");
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

#[cfg(any(test, feature = "simulation"))]
impl DiskWork {
    pub(in crate::worker) fn store(&self) -> &Store {
        &self.store
    }
}

#[cfg(feature = "simulation")]
impl DiskWork {
    pub(in crate::worker) fn forgotten(&self) -> u32 {
        self.forgotten
    }

    /// As [`compact`](Self::compact), for documents of any length.
    pub(in crate::worker) fn compact_one(&mut self, collection: &str, id: &DocumentId) -> Result<bool, StoreError> {
        match self.remote_in_use {
            Some(remote) => self.store.compact(collection, id, remote),
            None => Ok(false),
        }
    }

    pub(in crate::worker) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.batch.len() == 0 && self.owed.is_none()
    }
}

/// A document's changes that `remote` lacks (all of them without one), snapshots taken apart: the wire's unit is one change.
fn read_unsent(
    store: &Store,
    collection: &str,
    id: DocumentId,
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
