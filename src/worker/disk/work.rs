//! The work of the store's thread, without the thread.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::mpsc::UnboundedSender;

use super::{DiskAnswer, batch::Batch, failure};
use crate::{
    CollectionIndex, DocumentId, DocumentKey, limits,
    record::{ChunkKind, Position, RemoteId},
    replica::{self, Event, Lookup, RemoteState, StoreRequest, UnsentChange, UnsentDocument},
    store::{Store, StoreError},
};

/// Documents read at once when the world is filled: a page of them is shown while the next is read.
const FILL_PAGE: usize = 500;
/// Writes in one transaction: bounds how long a reader waits behind it.
const BATCH_WRITES: usize = 4_096;

/// Turns requests into transactions and answers. It uses no thread and no clock, so that the simulator can drive it.
pub(in crate::worker) struct DiskWork {
    store: Store,
    collections: Vec<String>,
    /// Without a deployment there is nothing to look up.
    deployment: Option<String>,
    answers: UnboundedSender<DiskAnswer>,
    waiting: VecDeque<StoreRequest>,
    urgency: Urgency,
    batch: Batch,
    remote_in_use: Option<RemoteId>,
    health: Health,
    /// True when a damaged store must be set aside.
    rebuild: Arc<AtomicBool>,
    /// How often the marks of a deployment were dropped.
    #[cfg(feature = "simulation")]
    forgotten: u32,
}

/// How soon the waiting requests must be carried out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Urgency {
    /// The requests may wait for more of their kind.
    CanWait,
    /// One of them must be on the disk, or be answered, as soon as possible.
    Now,
}

/// Whether the store carries out its requests.
enum Health {
    Works,
    /// The store refused something that is tried again, and the app was told.
    Fails,
    /// The store could not answer a question, and the app was told. The questions wait in order, because the replica
    /// does not ask a second time. Only the newest question about an epoch counts, because pages wait for its answer.
    Owes(Vec<Lookup>),
}

impl DiskWork {
    pub(in crate::worker) fn new(
        store: Store,
        collections: Vec<String>,
        deployment: Option<String>,
        answers: UnboundedSender<DiskAnswer>,
        rebuild: Arc<AtomicBool>,
    ) -> Self {
        let batch = Batch::new(answers.clone());
        let work = Self {
            store,
            collections,
            deployment,
            answers,
            waiting: VecDeque::new(),
            urgency: Urgency::CanWait,
            batch,
            remote_in_use: None,
            health: Health::Works,
            rebuild,
            #[cfg(feature = "simulation")]
            forgotten: 0,
        };
        work.tell(DiskAnswer::Open);
        work
    }

    /// Reports all documents in the store.
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
            match self.store.refused(collection) {
                Ok(documents) if documents.is_empty() => {}
                Ok(documents) => self.tell(DiskAnswer::Event(Event::Refused { collection: name, documents })),
                Err(error) => self.tell(DiskAnswer::Failed(failure(&error))),
            }
            for damaged in self.store.take_damaged() {
                self.damaged(&damaged);
            }
            self.tell(DiskAnswer::Filled(name));
        }
    }

    /// Queues a request.
    pub(in crate::worker) fn take(&mut self, request: StoreRequest) {
        if !matches!(&request, StoreRequest::Write(_, write) if write.can_wait()) {
            self.urgency = Urgency::Now;
        }
        self.waiting.push_back(request);
    }

    /// Whether the queued requests may wait for more requests.
    pub(in crate::worker) fn can_wait(&self) -> bool {
        self.urgency == Urgency::CanWait && !self.is_owing()
    }

    /// Whether a question is still to be answered.
    pub(in crate::worker) fn is_owing(&self) -> bool {
        matches!(self.health, Health::Owes(_))
    }

    /// Whether more requests are worth waiting for before they are carried out.
    pub(in crate::worker) fn has_room(&self) -> bool {
        self.waiting.len() < BATCH_WRITES
    }

    /// Carries out the queued requests. Writes that follow one another become one transaction. Returns false if the
    /// store refuses them for now: the rest stays queued, to be tried again.
    pub(in crate::worker) fn carry_out(&mut self) -> bool {
        let batch = limits::or_tiny(BATCH_WRITES, 3);
        self.answer_owed();
        while let Some(request) = self.waiting.pop_front() {
            match request {
                StoreRequest::Write(name, write) => self.batch.take(name, write),
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
        if done {
            self.urgency = Urgency::CanWait;
        }
        done
    }

    /// Tries once more to answer the questions that the store refused to answer.
    fn answer_owed(&mut self) {
        match std::mem::replace(&mut self.health, Health::Fails) {
            Health::Owes(questions) => questions.into_iter().for_each(|question| self.look_up(question)),
            health => self.health = health,
        }
    }

    /// Keeps a question for later.
    fn owe(&mut self, question: Lookup) {
        let mut owed = match std::mem::replace(&mut self.health, Health::Fails) {
            Health::Owes(owed) => owed,
            Health::Works | Health::Fails => Vec::new(),
        };
        if !matches!(question, Lookup::Forget(_)) {
            owed.retain(|older| matches!(older, Lookup::Forget(_)));
        }
        owed.push(question);
        self.health = Health::Owes(owed);
    }

    /// Commits the collected writes, and reports when all of them are on the disk.
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

    /// Notes that the store refused something that is tried again. The app is told once.
    fn refused(&mut self, error: &StoreError) {
        if let Health::Works = self.health {
            self.health = Health::Fails;
            self.tell(DiskAnswer::Stuck(failure(error)));
        }
    }

    /// Notes that the store carried out a request.
    fn works(&mut self) {
        if let Health::Fails = self.health {
            self.health = Health::Works;
            self.tell(DiskAnswer::Recovered);
        }
    }

    /// The app ends while the store refuses to be written.
    pub(in crate::worker) fn give_up(&mut self) {
        let writes = self.batch.len() + self.waiting.len();
        tracing::error!(target: "bevy_convex_replicate::store", writes, "the app is ending, and this many writes could not be saved");
        self.batch.clear();
        self.waiting.clear();
    }

    fn answer(&mut self, request: StoreRequest) {
        let answer = match request {
            StoreRequest::Write(..) => return,
            StoreRequest::Rebuild => return self.rebuild_next_time(),
            StoreRequest::Load(document) => Ok(self.load(document)),
            StoreRequest::LoadDiscarded(document) => {
                if self.is_at_the_beginning(document.collection) {
                    self.tell(DiskAnswer::Event(Event::ReadAgain(document.collection)));
                }
                Ok(self.load(document))
            }
            StoreRequest::LookUp(question) => return self.look_up(question),
            StoreRequest::ReadUnsent { collection, documents, history, read } => self
                .unsent(collection, documents, history)
                .map(|documents| Event::Unsent { collection, documents, read }),
        };
        match answer {
            Ok(event) => self.tell(DiskAnswer::Event(event)),
            Err(error) => self.tell(DiskAnswer::Failed(failure(&error))),
        }
    }

    fn look_up(&mut self, question: Lookup) {
        let Some(deployment) = self.deployment.clone() else { return };
        if self.is_owing() {
            // The answer may depend on a question before it.
            return self.owe(question);
        }
        let answer = match &question {
            Lookup::LastUsed => self.remote(&deployment, None),
            Lookup::Epoch(epoch) => self.remote(&deployment, Some(epoch.clone())),
            Lookup::Forget(remote) => self.store.forget(*remote).and_then(|()| {
                #[cfg(feature = "simulation")]
                {
                    self.forgotten += 1;
                }
                self.remote(&deployment, None)
            }),
        };
        match answer {
            Ok(event) => {
                self.works();
                self.tell(DiskAnswer::Event(event));
            }
            Err(error) => {
                self.refused(&error);
                self.owe(question);
            }
        }
    }

    /// An open store is in use, so a rebuild waits until it is opened the next time.
    fn rebuild_next_time(&self) {
        // If the flag is clear, the rebuild was done when the store could not be opened.
        let asked = self.rebuild.load(Ordering::Acquire);
        if asked && let Err(error) = self.store.ask_for_rebuild() {
            self.tell(DiskAnswer::Failed(failure(&error)));
        }
    }

    /// Reports a document that cannot be read.
    fn damaged(&self, error: &StoreError) {
        self.tell(DiskAnswer::Failed(failure(error)));
        if error.is_damage() {
            self.rebuild_next_time();
        }
    }

    fn load(&self, document: DocumentKey) -> Event {
        let collection = self.name(document.collection);
        let chunks = match self.store.chunks(collection, &document.id) {
            Ok(chunks) => chunks.into_iter().map(|chunk| chunk.bytes).collect(),
            Err(error) => {
                // Edits that wait for the document must not wait forever.
                self.damaged(&error);
                return Event::Unreadable { document, problem: error.problem() };
            }
        };
        Event::Loaded { document, chunks }
    }

    /// Whether the log of a collection is to be read from its beginning, or the store cannot say from where.
    fn is_at_the_beginning(&self, collection: CollectionIndex) -> bool {
        let Some(remote) = self.remote_in_use else { return true };
        let checkpoint = self.store.checkpoint(remote, self.name(collection));
        !matches!(checkpoint, Ok(Some(checkpoint)) if checkpoint.position > Position::default())
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
    ) -> Result<Vec<UnsentDocument>, StoreError> {
        let name = self.name(collection);
        let mut unsent = Vec::with_capacity(documents.len());
        for (id, history) in documents.into_iter().zip(history) {
            match read_unsent(&self.store, name, id, self.remote_in_use.filter(|_| !history)) {
                Ok(document) => unsent.push(document),
                // The other documents must not wait for it.
                Err(error @ StoreError::DamagedDocument { .. }) => self.damaged(&error),
                Err(error) => return Err(error),
            }
        }
        Ok(unsent)
    }

    /// Compacts at most `most` of the documents with many changes.
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

    /// Gives free space of the file back to the system.
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

    /// Like [`compact`](Self::compact), for documents of any length.
    pub(in crate::worker) fn compact_one(&mut self, collection: &str, id: &DocumentId) -> Result<bool, StoreError> {
        match self.remote_in_use {
            Some(remote) => self.store.compact(collection, id, remote),
            None => Ok(false),
        }
    }

    pub(in crate::worker) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.batch.len() == 0 && !self.is_owing()
    }
}

/// A document's changes that `remote` lacks (all of them without one), snapshots taken apart: the wire's unit is one
/// change.
fn read_unsent(
    store: &Store,
    collection: &str,
    id: DocumentId,
    remote: Option<RemoteId>,
) -> Result<UnsentDocument, StoreError> {
    let unsent = store.unsent_chunks(collection, &id, remote)?;
    let names: Option<BTreeSet<String>> = if !unsent.complete {
        // Missing changes may set these fields to something else.
        None
    } else if unsent.whole {
        unsent.value.as_map().map(|map| map.keys().cloned().collect())
    } else {
        unsent
            .chunks
            .iter()
            .map(|change| change.fields.clone())
            .collect::<Option<Vec<_>>>()
            .map(|names| names.into_iter().flatten().collect())
    };
    let fields =
        names.map(|names| names.into_iter().map(|name| (name.clone(), unsent.value.get(&name).cloned())).collect());
    let mut changes = Vec::new();
    for change in unsent.chunks {
        match change.kind {
            ChunkKind::Change => {
                changes.push(UnsentChange { hash: change.hash, chunk: change.hash, bytes: change.bytes })
            }
            ChunkKind::Snapshot => changes.extend(replica::changes_of(change.hash, &change.bytes)),
        }
    }
    Ok(UnsentDocument { id, changes, fields })
}
