//! Pulling: the identity of the backend's log, and the pages of that log.

use std::collections::{HashSet, VecDeque};

use automerge::ChangeHash;

use super::{
    Checkpoint, Delta, Document, Effect, Live, Lookup, Origin, Page, Position, PushNumber, Refusal, RefusalCode,
    RemoteState, Replica, State, StoreRequest,
    pull::{Echoes, PageChunks},
    refused::changes_in,
    world::deliver,
};
use crate::{
    CollectionIndex, DocumentId, DocumentKey,
    chunk::inspect,
    failure::FailureKind,
    record::{ChunkKind, DocumentWrite, RemoteId, StoredChunk, ToBackend, Write},
};

/// A page, and how many of its documents are still being read.
pub(super) struct WaitingPage {
    pub(super) collection: CollectionIndex,
    chunks: PageChunks,
    /// The log had nothing after this page, in the present connection.
    pub(super) is_last: bool,
    pub(super) loading: HashSet<DocumentId>,
}

impl WaitingPage {
    /// Waits for a document that is being read, if the page has it.
    pub(super) fn wait_for(&mut self, id: &DocumentId) {
        if self.chunks.documents.iter().any(|(of, _)| of == id) {
            self.loading.insert(id.clone());
        }
    }
}

/// The progress of the replica with its backend.
#[derive(Default)]
pub(super) enum Stage {
    /// The app has no deployment: nothing is unsent.
    #[default]
    NoDeployment,
    Disconnected,
    /// Connected, but neither a page nor an answer has named the backend's log yet.
    Connected,
    /// A page or an answer named the log, and the store is looking up what it knows of that log. These pages wait for
    /// the store's answer.
    Identifying {
        held: VecDeque<Page>,
    },
    /// The backend has the log that [`Followed`] stands for. Changes are sent.
    Identified,
}

impl Stage {
    pub(super) fn take_held(&mut self) -> VecDeque<Page> {
        match self {
            Self::Identifying { held } => std::mem::take(held),
            _ => VecDeque::new(),
        }
    }

    /// Doubts which log the backend has, until its next page names the log.
    pub(super) fn doubt(&mut self) {
        if let Self::Identified = self {
            *self = Self::Connected;
        }
    }

    /// Starts to look up the backend's log in the store. Returns whether the store must be asked: without a connection
    /// it must not.
    pub(super) fn identify(&mut self) -> bool {
        match self {
            Self::NoDeployment | Self::Disconnected => return false,
            Self::Identifying { .. } => {}
            Self::Connected | Self::Identified => *self = Self::Identifying { held: VecDeque::new() },
        }
        true
    }
}

/// The log that the checkpoints and the outboxes of the collections are about.
#[derive(Default)]
pub(super) enum Followed {
    /// There never was a log.
    #[default]
    Nothing,
    Log(Log),
    /// The store is dropping its checkpoints and marks of this log. Afterwards everything is read from the beginning
    /// and offered again.
    Forgetting(Log),
}

/// A log that the store knows.
pub(super) struct Log {
    pub(super) remote: RemoteId,
    /// The id of the log; `None` before a page has named it in this run.
    pub(super) epoch: Option<String>,
}

impl Followed {
    fn log(&self) -> Option<&Log> {
        match self {
            Self::Nothing => None,
            Self::Log(log) | Self::Forgetting(log) => Some(log),
        }
    }

    /// Returns whether this is a change.
    fn forget(&mut self) -> bool {
        let (next, is_news) = match std::mem::take(self) {
            Self::Log(log) => (Self::Forgetting(log), true),
            before => (before, false),
        };
        *self = next;
        is_news
    }
}

/// The replica's knowledge of the backend.
#[derive(Default)]
pub(super) struct Remote {
    pub(super) stage: Stage,
    followed: Followed,
    /// The push on its way.
    pub(super) in_flight: Option<(PushNumber, CollectionIndex)>,
    pub(super) last_push: PushNumber,
    pub(super) echoes: Echoes,
    /// The collection that may push first next time.
    pub(super) turn: usize,
}

impl Remote {
    pub(super) fn new(has_deployment: bool) -> Self {
        let stage = if has_deployment { Stage::Disconnected } else { Stage::NoDeployment };
        Self { stage, ..Self::default() }
    }

    pub(super) fn has_deployment(&self) -> bool {
        !matches!(self.stage, Stage::NoDeployment)
    }

    /// The store's name for the log that is followed.
    pub(super) fn id(&self) -> Option<RemoteId> {
        self.followed.log().map(|log| log.remote)
    }

    /// The id of the log that is followed, if the backend has told it.
    pub(super) fn epoch(&self) -> Option<&str> {
        self.followed.log().and_then(|log| log.epoch.as_deref())
    }

    /// Gives the log its id. A log has no id before it is written to.
    pub(super) fn name_log(&mut self, epoch: &str) {
        if let Followed::Log(log) | Followed::Forgetting(log) = &mut self.followed {
            log.epoch = Some(epoch.to_owned());
        }
    }

    /// Follows a log that the store has looked up. Returns whether the store's knowledge of that log was dropped
    /// before.
    fn follow(&mut self, epoch: Option<&str>, remote: Option<RemoteId>) -> bool {
        let before = std::mem::take(&mut self.followed);
        let log = remote.map(|remote| Log { remote, epoch: epoch.map(str::to_owned) });
        let is_dropped = matches!((&before, epoch), (Followed::Forgetting(_), None));
        self.followed = match (before, log) {
            (_, None) => Followed::Nothing,
            // The replica asked for this before it asked the store to forget, so the answer to the latter is still to
            // come.
            (Followed::Forgetting(_), Some(log)) if !is_dropped => Followed::Forgetting(log),
            (_, Some(log)) => Followed::Log(log),
        };
        is_dropped
    }
}

impl Replica {
    pub(super) fn remote_known(&mut self, epoch: Option<String>, state: RemoteState) {
        let same = epoch.is_some() && self.remote.id() == state.remote && state.remote.is_some();
        let mut held = self.remote.stage.take_held();
        let is_dropped = self.remote.follow(epoch.as_deref(), state.remote);
        if !same {
            self.follow_anew(state, &mut held, is_dropped);
        }
        let remote = &mut self.remote;
        match (&mut remote.stage, epoch) {
            (Stage::NoDeployment | Stage::Disconnected, _) => {}
            (stage, Some(_)) => {
                *stage = Stage::Identified;
                held.into_iter().for_each(|page| self.page(page));
            }
            // These pages wait for the answer to a later question about their log.
            (Stage::Identifying { held: waiting }, None) => *waiting = held,
            (stage, None) => stage.doubt(),
        }
        self.discard_waiting();
    }

    /// Follows another log than before, or the same log from another position. With `again`, everything is offered to
    /// the log again.
    fn follow_anew(&mut self, state: RemoteState, held: &mut VecDeque<Page>, again: bool) {
        self.remote.echoes.clear();
        self.remote.in_flight = None;
        self.pages.clear();
        self.refusals_of(state.remote);
        let mut unsent = state.unsent.into_iter();
        for (index, collection) in self.collections.iter_mut().enumerate() {
            let name = CollectionIndex(index as u16);
            let checkpoint = state.checkpoints.get(index).copied().unwrap_or_default();
            collection.outbox.reset(unsent.next().unwrap_or_default(), again);
            collection.believed = state.unread.get(index).copied().unwrap_or_default();
            if !again {
                collection.pruned = checkpoint.pruned;
            }
            collection.pull.restart(checkpoint);
            // The page that named the log may be the next one to take in, unless it was requested from another log's
            // checkpoint.
            let continues = |page: &Page| page.from == Position::default() || page.pruned == checkpoint.pruned;
            let is_wanted = |page: &Page| page.from == checkpoint.position && continues(page);
            if !held.iter().any(|page| page.collection == name && is_wanted(page)) {
                held.retain(|page| page.collection != name);
                self.effects.push_back(Effect::Backend(ToBackend::Subscribe { collection: name, checkpoint }));
            }
        }
        self.lift_sent();
    }

    pub(super) fn page(&mut self, mut page: Page) {
        match &mut self.remote.stage {
            Stage::Identified
                if self.remote.followed.log().is_some_and(|log| log.epoch.as_ref() == Some(&page.epoch)) => {}
            Stage::Identifying { held } => return held.push_back(page),
            stage @ (Stage::Connected | Stage::Identified) => {
                self.effects.push_back(Effect::Store(StoreRequest::LookUp(Lookup::Epoch(page.epoch.clone()))));
                *stage = Stage::Identifying { held: VecDeque::from([page]) };
                return;
            }
            // The page's connection has ended, and the transport goes on after the page. So the rows of the page are
            // requested again.
            Stage::NoDeployment | Stage::Disconnected => return self.subscribe_again(page.collection),
        }
        let index = page.collection;
        let Some(collection) = self.collections.get_mut(index.0 as usize) else { return };
        if collection.pull.begins_with(&page) {
            let is_news = page.pruned.is_some() && page.pruned != collection.pruned;
            collection.pruned = page.pruned;
            if is_news && collection.believed {
                // Documents that the backend held may have been pruned, and no page says which.
                self.start_over();
                return;
            }
            if let (Some(remote), Some(_)) = (self.remote.id(), page.pruned) {
                // This must be stored before anything sent from now on is marked as held by the backend.
                let begins = Checkpoint { position: page.from, pruned: page.pruned };
                let collection = collection.name.clone();
                self.write(Write::Checkpoint { remote, collection, checkpoint: begins });
            }
        }
        let mut echoes: Vec<(DocumentId, ChangeHash)> = Vec::new();
        page.rows.retain(|row| {
            let echo = if row.part.is_none() { self.remote.echoes.take(&row.bytes) } else { None };
            echoes.extend(echo.map(|hash| (row.id.clone(), hash)));
            echo.is_none()
        });
        for (id, hash) in echoes {
            self.held(index, &id, vec![hash]);
        }
        let Some(collection) = self.collections.get_mut(index.0 as usize) else { return };
        let is_last = !page.has_more;
        let Some(chunks) = collection.pull.assemble(page) else { return };
        let mut loading = collection.discarding.clone();
        let mut cold = Vec::new();
        for (id, _) in &chunks.documents {
            match collection.documents.get(id).map(|document| &document.state) {
                Some(State::Cold) => {
                    loading.insert(id.clone());
                    cold.push(DocumentKey { collection: index, id: id.clone() });
                }
                Some(State::Loading(_)) => {
                    loading.insert(id.clone());
                }
                _ => {}
            }
        }
        for key in cold {
            self.load(&key, None);
        }
        self.pages.push_back(WaitingPage { collection: index, chunks, is_last, loading });
    }

    /// Takes in the pages whose documents are loaded, in order.
    pub(super) fn process_pages(&mut self) {
        while self.pages.front().is_some_and(|page| page.loading.is_empty()) {
            let Some(mut page) = self.pages.pop_front() else { return };
            for (id, why) in page.chunks.damaged.drain(..) {
                self.damaged(page.collection, id, why);
            }
            let mut documents = std::mem::take(&mut page.chunks.documents).into_iter();
            while let Some((id, chunks)) = documents.next() {
                let key = DocumentKey { collection: page.collection, id };
                let Err(rest) = self.merge(&key, chunks) else { continue };
                // The page goes on when the document has been read again.
                page.loading.insert(key.id.clone());
                let rest = rest.into_iter().map(|chunk| (key.id.clone(), vec![chunk]));
                page.chunks.documents = rest.chain(documents).collect();
                self.pages.push_front(page);
                return;
            }
            let Some(remote) = self.remote.id() else { continue };
            let collection = self.collections[page.collection.0 as usize].name.clone();
            self.write(Write::Checkpoint { remote, collection, checkpoint: page.chunks.checkpoint });
            if page.is_last {
                self.effects.push_back(Effect::Read(page.collection));
            }
        }
    }

    /// Takes in chunks of a document. The error has the chunks if they do not fit the document. The document is then
    /// read again, and the caller must try the chunks one by one. A single chunk that does not fit is reported and
    /// skipped.
    fn merge(&mut self, key: &DocumentKey, chunks: Vec<Vec<u8>>) -> Result<(), Vec<Vec<u8>>> {
        let Some(collection) = self.collections.get_mut(key.collection.0 as usize) else { return Ok(()) };
        let document = collection.documents.entry(key.id.clone()).or_insert_with(|| {
            self.live.count += 1;
            let seen = collection.seen.remove(&key.id).unwrap_or_default();
            let generation = collection.gone.remove(&key.id).unwrap_or_default();
            Document { generation, seen, state: State::Live(Box::new(Live::new(&self.actor))), ..Document::default() }
        });
        let State::Live(live) = &mut document.state else { return Ok(()) };
        self.live.touch(key, live, &mut self.clock);
        // The merged document is read inside the guard, because Automerge may panic there too.
        let merged = inspect::guarded("merge", || {
            live.merge(&chunks).map(|(merged, damaged)| {
                let state = (!merged.chunks.is_empty()).then(|| (live.heads(), live.cached()));
                (merged, damaged, state)
            })
        });
        let (merged, damaged, state) = match merged.map_err(|error| error.to_string()).flatten() {
            Ok(merged) => merged,
            Err(why) => {
                self.reload(key);
                if chunks.len() > 1 {
                    return Err(chunks);
                }
                self.damaged(key.collection, key.id.clone(), why);
                return Err(Vec::new());
            }
        };
        if let Some((heads, value)) = state {
            self.last_write += 1;
            live.last_write = self.last_write;
            let remote = self.remote.id();
            let chunks = merged.chunks.into_iter().map(|(hash, snapshot, bytes)| StoredChunk {
                hash,
                kind: if snapshot { ChunkKind::Snapshot } else { ChunkKind::Change },
                bytes,
                remote,
                fields: Vec::new(),
            });
            let write = DocumentWrite {
                collection: collection.name.clone(),
                id: key.id.clone(),
                chunks: chunks.collect(),
                heads,
                value,
            };
            self.effects.push_back(Effect::Store(StoreRequest::Write(self.last_write, Write::Document(write))));
        }
        if merged.moved {
            deliver(&mut self.effects, key, document, Origin::Remote);
        }
        if collection.outbox.has(&key.id) {
            // Among the chunks may be changes of this client whose push was not answered.
            self.held(key.collection, &key.id, changes_in(&chunks));
        }
        if let Some(why) = damaged {
            self.damaged(key.collection, key.id.clone(), why);
        }
        Ok(())
    }

    pub(super) fn damaged(&mut self, collection: CollectionIndex, id: DocumentId, why: String) {
        let message = format!("the deployment sent a change that cannot be read: {why}");
        self.fail(FailureKind::Damaged, Some(collection), Some(id), message);
    }

    /// Drops a document that the backend has pruned, long after it was deleted.
    pub(super) fn pruned(&mut self, key: DocumentKey, refusal: &Refusal) {
        let Some(collection) = self.collections.get_mut(key.collection.0 as usize) else { return };
        if matches!(collection.documents.get(&key.id).map(|document| &document.state), Some(State::Loading(_))) {
            // Edits may wait for the document. So it stays in the outbox, and is offered again once it is loaded.
            return;
        }
        let Some(remote) = self.remote.id() else { return };
        let edited = collection.outbox.forget(&key.id);
        self.lifted(&key);
        let Some(collection) = self.collections.get_mut(key.collection.0 as usize) else { return };
        let name = collection.name.clone();
        let document = collection.documents.remove(&key.id);
        for page in self.pages.iter_mut().filter(|page| page.collection == key.collection) {
            page.chunks.documents.retain(|(id, _)| *id != key.id);
        }
        if edited {
            // The app gets this failure before the document goes, so that it can still read its components.
            let message = format!(
                "{} ({}). It is gone here too, and with it the edits that had not been sent: what should stay has to be put into a new document",
                refusal.message, refusal.code
            );
            self.fail(FailureKind::Pruned, Some(key.collection), Some(key.id.clone()), message);
        }
        self.write(Write::Forget { remote, collection: name, id: key.id.clone() });
        let Some(document) = document else { return };
        if let State::Live(_) = document.state {
            self.live.count -= 1;
        }
        self.saw(&key, document.seen);
        self.effects.push_back(Effect::Deliver(Delta {
            document: key,
            generation: document.generation + 1,
            seen: document.seen,
            value: None,
            origin: Origin::Remote,
        }));
    }

    /// Drops the replica's knowledge of the backend, so that everything is read from the beginning and offered again.
    fn start_over(&mut self) {
        let Some(remote) = self.remote.id() else { return };
        self.remote.stage.doubt();
        if !self.remote.followed.forget() {
            return;
        }
        // If something were written now, it would count as known after the store has forgotten. So waiting pages are
        // dropped and pulled again, and the push in flight is repeated.
        self.pages.clear();
        self.push_ended();
        self.effects.push_back(Effect::Store(StoreRequest::LookUp(Lookup::Forget(remote))));
    }

    /// Subscribes to a collection's log from the position up to which it was taken in.
    pub(super) fn subscribe_again(&mut self, collection: CollectionIndex) {
        if let Some(known) = self.collections.get(usize::from(collection.0)) {
            let checkpoint = known.pull.checkpoint();
            self.effects.push_back(Effect::Backend(ToBackend::Subscribe { collection, checkpoint }));
        }
    }

    pub(super) fn pull_refused(&mut self, collection: CollectionIndex, refusal: Refusal) {
        if refusal.code == RefusalCode::CheckpointUnknown {
            // A backup was restored, or this client was away for longer than tombstones are kept. The store's marks of
            // the backend are then wrong.
            self.remote.stage.doubt();
            let known = self.collections.get(usize::from(collection.0));
            let is_read = known.is_some_and(|known| known.pull.checkpoint().position > Position::default());
            match self.remote.id() {
                Some(_) if is_read => self.start_over(),
                // Nothing of this log is stored yet, because it replaced another log while its pages waited for the
                // store's answer. Or the replica starts over already, and the backend refused before the transport knew
                // that.
                _ => self
                    .effects
                    .push_back(Effect::Backend(ToBackend::Subscribe { collection, checkpoint: Checkpoint::default() })),
            }
            return;
        }
        let kind = match refusal.code {
            RefusalCode::Unauthenticated => FailureKind::Unauthenticated,
            _ => FailureKind::Unreadable,
        };
        let message = format!("the deployment does not send this collection: {} ({})", refusal.message, refusal.code);
        self.fail(kind, Some(collection), None, message);
    }
}
