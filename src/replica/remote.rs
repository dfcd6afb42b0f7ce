//! The backend's side of pulling: which log it is, and what it tells.

use std::collections::{HashSet, VecDeque};

use super::{
    Checkpoint, Delta, Document, Effect, Live, Origin, Page, Position, PushNumber, Refusal, RefusalCode, RemoteState,
    Replica, State,
    pull::{Echoes, PageChunks},
    world::deliver,
};
use crate::{
    CollectionIndex, DocumentId, DocumentKey,
    chunk::inspect,
    failure::FailureKind,
    record::{ChunkKind, DocumentWrite, RemoteId, StoredChunk, Write},
};

/// A page, and how many of its documents are still being read.
pub(super) struct WaitingPage {
    pub(super) collection: CollectionIndex,
    chunks: PageChunks,
    /// The log had nothing after it, in the connection that there is.
    pub(super) is_last: bool,
    pub(super) loading: HashSet<DocumentId>,
}

/// What is known of the backend.
#[derive(Default)]
pub(super) struct Remote {
    /// False without a deployment: then nothing is unsent.
    pub(super) wanted: bool,
    pub(super) id: Option<RemoteId>,
    pub(super) epoch: Option<String>,
    pub(super) connected: bool,
    /// Whether this connection's epoch is known to be the one that `id` stands for.
    pub(super) identified: bool,
    pub(super) identifying: bool,
    /// What is believed of the backend is being dropped: all it had is offered again.
    pub(super) forgetting: bool,
    /// Pages that wait for that.
    pub(super) held: VecDeque<Page>,
    /// The push on its way.
    pub(super) in_flight: Option<(PushNumber, CollectionIndex)>,
    pub(super) last_push: PushNumber,
    pub(super) echoes: Echoes,
    /// Which collection may push first next time.
    pub(super) turn: usize,
}

impl Replica {
    pub(super) fn remote_known(&mut self, epoch: Option<String>, state: RemoteState) {
        let same = epoch.is_some() && self.remote.id == state.remote && state.remote.is_some();
        let mut held = std::mem::take(&mut self.remote.held);
        if epoch.is_some() {
            self.remote.identifying = false;
        }
        self.remote.identified = epoch.is_some();
        let again = epoch.is_none() && std::mem::take(&mut self.remote.forgetting);
        self.remote.id = state.remote;
        self.remote.epoch = epoch;
        if !same {
            self.follow_anew(state, &mut held, again);
        }
        match self.remote.identified {
            true => held.into_iter().for_each(|page| self.page(page)),
            // They wait for the name of their log, which has been asked for since.
            false => self.remote.held = held,
        }
    }

    /// Another log than the one followed so far, or the same from another place: `again`, to which everything is offered again.
    fn follow_anew(&mut self, state: RemoteState, held: &mut VecDeque<Page>, again: bool) {
        self.remote.echoes.clear();
        self.remote.in_flight = None;
        self.pages.clear();
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
            // The page that told of the log may be the one that is wanted, unless it was asked for by another log's checkpoint.
            let continues = |page: &Page| page.from == Position::default() || page.pruned == checkpoint.pruned;
            let is_wanted = |page: &Page| page.from == checkpoint.position && continues(page);
            if !held.iter().any(|page| page.collection == name && is_wanted(page)) {
                held.retain(|page| page.collection != name);
                self.effects.push_back(Effect::Subscribe { collection: name, checkpoint });
            }
        }
    }

    pub(super) fn page(&mut self, mut page: Page) {
        let known = self.remote.identified && self.remote.epoch.as_deref() == Some(&*page.epoch);
        if !known {
            if !self.remote.identifying {
                self.remote.identified = false;
                self.remote.identifying = true;
                self.effects.push_back(Effect::Identify { epoch: page.epoch.clone() });
            }
            self.remote.held.push_back(page);
            return;
        }
        let index = page.collection;
        let Some(collection) = self.collections.get_mut(index.0 as usize) else { return };
        if collection.pull.begins_with(&page) {
            let is_news = page.pruned.is_some() && page.pruned != collection.pruned;
            collection.pruned = page.pruned;
            if is_news && collection.believed {
                // What it is believed to have may be gone, and nothing that was read tells so.
                self.start_over();
                return;
            }
            if let (Some(remote), Some(_)) = (self.remote.id, page.pruned) {
                // Before anything that is sent from now on counts as held by it.
                let begins = Checkpoint { position: page.from, pruned: page.pruned };
                let collection = collection.name.clone();
                self.write(Write::Checkpoint { remote, collection, checkpoint: begins });
            }
        }
        let Some(collection) = self.collections.get_mut(index.0 as usize) else { return };
        page.deltas.retain(|delta| delta.part.is_some() || !self.remote.echoes.take(&delta.bytes));
        let is_last = !page.has_more;
        let Some(chunks) = collection.pull.assemble(page) else { return };
        let mut loading = HashSet::new();
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
                // The page goes on when the document is as it was before.
                page.loading.insert(key.id.clone());
                let rest = rest.into_iter().map(|chunk| (key.id.clone(), vec![chunk]));
                page.chunks.documents = rest.chain(documents).collect();
                self.pages.push_front(page);
                return;
            }
            let Some(remote) = self.remote.id else { continue };
            let collection = self.collections[page.collection.0 as usize].name.clone();
            self.write(Write::Checkpoint { remote, collection, checkpoint: page.chunks.checkpoint });
            if page.is_last {
                self.effects.push_back(Effect::Read(page.collection));
            }
        }
    }

    /// Takes in chunks of a document. Err: they do not fit it, so that it is being read again, and these of them are to be tried then, one by one;
    /// if it was a single one, it is told of and passed over.
    fn merge(&mut self, key: &DocumentKey, chunks: Vec<Vec<u8>>) -> Result<(), Vec<Vec<u8>>> {
        let Some(collection) = self.collections.get_mut(key.collection.0 as usize) else { return Ok(()) };
        let document = collection.documents.entry(key.id.clone()).or_insert_with(|| {
            self.live.count += 1;
            let seen = collection.seen.remove(&key.id).unwrap_or_default();
            Document { seen, state: State::Live(Box::new(Live::new(&self.actor))), ..Document::default() }
        });
        let State::Live(live) = &mut document.state else { return Ok(()) };
        self.live.touch(key, live, &mut self.clock);
        // Reading the merged document is part of it: there, too, a panic would be this document's.
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
            let remote = self.remote.id;
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
            self.effects.push_back(Effect::Write(self.last_write, Write::Document(write)));
        }
        if merged.moved {
            deliver(&mut self.effects, key, document, Origin::Remote);
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

    /// The backend has forgotten a document that was deleted long ago, and so do we.
    pub(super) fn pruned(&mut self, key: DocumentKey, refusal: &Refusal) {
        let Some(collection) = self.collections.get_mut(key.collection.0 as usize) else { return };
        if matches!(collection.documents.get(&key.id).map(|document| &document.state), Some(State::Loading(_))) {
            // Edits may wait for it. It is offered again, until it has been read.
            return;
        }
        let Some(remote) = self.remote.id else { return };
        let edited = collection.outbox.forget(&key.id);
        let name = collection.name.clone();
        let document = collection.documents.remove(&key.id);
        for page in self.pages.iter_mut().filter(|page| page.collection == key.collection) {
            page.chunks.documents.retain(|(id, _)| *id != key.id);
        }
        if edited {
            // Before it is taken away: the app may want to look at it once more.
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

    /// Drops what is believed of the backend: all is read from the beginning, and offered again.
    fn start_over(&mut self) {
        let Some(remote) = self.remote.id else { return };
        self.remote.identified = false;
        if std::mem::replace(&mut self.remote.forgetting, true) {
            return;
        }
        // What is stored from now on would be believed again: pages that wait come again, and a push still on its way is repeated.
        self.pages.clear();
        self.push_ended();
        self.effects.push_back(Effect::Forget(remote));
    }

    pub(super) fn pull_refused(&mut self, collection: CollectionIndex, refusal: Refusal) {
        if refusal.code == RefusalCode::CheckpointUnknown {
            // A backup was restored, or we were away for longer than tombstones are kept: what we believe of it is wrong.
            self.remote.identified = false;
            let known = self.collections.get(usize::from(collection.0));
            let is_read = known.is_some_and(|known| known.pull.checkpoint().position > Position::default());
            match self.remote.id {
                Some(_) if is_read => self.start_over(),
                // Nothing of it is believed yet: its pages waited for its name when the log was replaced. Or all starts over already, and this was said before
                // the transport heard of it.
                _ => self.effects.push_back(Effect::Subscribe { collection, checkpoint: Checkpoint::default() }),
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
