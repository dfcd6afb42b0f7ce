//! Documents that a backend refuses: they are kept as refused until the backend accepts them, or the app discards the
//! changes that the backend lacks.
//!
//! A discarded document is read again from the store, which has then only the changes of the backend. The versions that
//! the world was given before are changes that are gone, so an edit of such a version is written as the difference from
//! the values that the world showed. If the document was new, nothing is left of it, and such an edit is dropped.

use std::collections::{BTreeMap, HashSet};

use automerge::{ActorId, ChangeHash};

use super::{
    Checkpoint, Delta, Document, Edit, EditKind, Effect, Live, Origin, Position, Put, RefusedWrite, Replica, State,
    StoreRequest, UnsentDocument, Waiting, change_hash, changes_of, chunk_hash, world::deliver,
};
use crate::{
    CollectionIndex, DocumentId, DocumentKey,
    chunk::inspect,
    failure::FailureKind,
    record::{DocumentWrite, RemoteId, ToBackend, Write},
};

/// The documents of a collection that a remote refuses.
pub(super) type Refusals = BTreeMap<DocumentId, (RemoteId, RefusedWrite)>;

impl Replica {
    /// Takes the store's notes from earlier runs.
    pub(super) fn refusals_read(
        &mut self,
        index: CollectionIndex,
        documents: Vec<(DocumentId, RemoteId, RefusedWrite)>,
    ) {
        let Some(collection) = self.collections.get_mut(index.0 as usize) else { return };
        if !self.remote.has_deployment() {
            return;
        }
        for (id, remote, refused) in documents {
            let key = DocumentKey { collection: index, id: id.clone() };
            self.effects.push_back(Effect::Refused(key, Some(refused.clone())));
            collection.refused.insert(id, (remote, refused));
        }
    }

    /// The remote refuses a document. It is refused since the first time.
    pub(super) fn stands(&mut self, key: DocumentKey, mut refused: RefusedWrite) {
        let Some(remote) = self.remote.id() else { return };
        let Some(collection) = self.collections.get_mut(key.collection.0 as usize) else { return };
        if let Some((of, before)) = collection.refused.get(&key.id)
            && *of == remote
        {
            refused.since = before.since;
            if *before == refused {
                return;
            }
        }
        collection.refused.insert(key.id.clone(), (remote, refused.clone()));
        let (name, id) = (collection.name.clone(), key.id.clone());
        self.write(Write::Refused { remote, collection: name, id, refused: Some(refused.clone()) });
        self.effects.push_back(Effect::Refused(key, Some(refused)));
    }

    /// The document is refused no longer.
    pub(super) fn lifted(&mut self, key: &DocumentKey) {
        let Some(collection) = self.collections.get_mut(key.collection.0 as usize) else { return };
        let Some((remote, _)) = collection.refused.remove(&key.id) else { return };
        let (name, id) = (collection.name.clone(), key.id.clone());
        self.write(Write::Refused { remote, collection: name, id, refused: None });
        self.effects.push_back(Effect::Refused(key.clone(), None));
    }

    /// Another remote may accept what the one before refused, so only refusals of this one stand.
    pub(super) fn refusals_of(&mut self, remote: Option<RemoteId>) {
        let mut others = Vec::new();
        for (index, collection) in self.collections.iter_mut().enumerate() {
            let index = CollectionIndex(index as u16);
            let of_others = collection.refused.iter().filter(|(_, (of, _))| Some(*of) != remote);
            others.extend(of_others.map(|(id, _)| DocumentKey { collection: index, id: id.clone() }));
        }
        for key in others {
            self.lifted(&key);
        }
    }

    /// The backend has these changes, as its log shows. A document of which it has everything is refused no longer.
    pub(super) fn held(&mut self, index: CollectionIndex, id: &DocumentId, mut changes: Vec<ChangeHash>) {
        let Some(remote) = self.remote.id() else { return };
        let Some(collection) = self.collections.get_mut(index.0 as usize) else { return };
        if !collection.outbox.has(id) {
            return;
        }
        let mut snapshots = collection.outbox.held(id, &changes.iter().copied().collect::<HashSet<_>>());
        changes.append(&mut snapshots);
        let is_sent = !collection.outbox.has(id);
        let name = collection.name.clone();
        self.write(Write::Sent { remote, collection: name, id: id.clone(), changes });
        if is_sent {
            self.lifted(&DocumentKey { collection: index, id: id.clone() });
        }
    }

    /// Takes the changes that the store has of documents to send. A document of which the backend has everything, because
    /// its last push was accepted and never answered, is refused no longer.
    pub(super) fn unsent_read(&mut self, index: CollectionIndex, documents: Vec<UnsentDocument>, read: u64) {
        let Some(collection) = self.collections.get_mut(index.0 as usize) else { return };
        let ids: Vec<DocumentId> = documents.iter().map(|document| document.id.clone()).collect();
        documents.into_iter().for_each(|document| collection.outbox.read(document, read));
        let outbox = &collection.outbox;
        let sent: Vec<DocumentId> = ids.into_iter().filter(|id| !outbox.has(id)).collect();
        for id in sent {
            self.lifted(&DocumentKey { collection: index, id });
        }
    }

    /// Takes back refusals of documents that have nothing to send: the process ended between the two notes.
    pub(super) fn lift_sent(&mut self) {
        let mut sent = Vec::new();
        for (index, collection) in self.collections.iter().enumerate() {
            let ids = collection.refused.keys().filter(|id| !collection.outbox.has(id)).cloned();
            sent.extend(ids.map(|id| DocumentKey { collection: CollectionIndex(index as u16), id }));
        }
        for key in sent {
            self.lifted(&key);
        }
    }

    /// Offers a refused document again.
    pub(super) fn retry_one(&mut self, key: &DocumentKey) {
        if let Some(collection) = self.collections.get_mut(key.collection.0 as usize) {
            collection.paused = false;
            collection.outbox.retry_one(&key.id);
        }
    }

    /// Drops the unsent changes of a refused document, and gives the world what the backend has of it.
    pub(super) fn discard(&mut self, key: DocumentKey) {
        let Some(collection) = self.collections.get_mut(key.collection.0 as usize) else { return };
        if !collection.refused.contains_key(&key.id) {
            let message = "the deployment does not refuse this document, so nothing of it was discarded".into();
            return self.fail(FailureKind::Identity, Some(key.collection), Some(key.id), message);
        }
        if self.remote.id().is_none() {
            return self.discards.push(key);
        }
        match collection.documents.get_mut(&key.id).map(|document| &mut document.state) {
            None => {
                collection.outbox.forget(&key.id);
                self.lifted(&key);
            }
            Some(State::Cold) => self.load(&key, Some(Waiting::Discard)),
            Some(State::Loading(waiting)) => waiting.push(Waiting::Discard),
            Some(State::Live(_)) => self.discard_live(&key),
        }
    }

    /// Discards the documents that waited for the store's answer about the backend.
    pub(super) fn discard_waiting(&mut self) {
        for key in std::mem::take(&mut self.discards) {
            // The answer may have named another backend, which does not refuse the document.
            let known = self.collections.get(key.collection.0 as usize);
            if self.remote.id().is_some() && known.is_some_and(|known| known.refused.contains_key(&key.id)) {
                self.discard(key);
            }
        }
    }

    fn discard_live(&mut self, key: &DocumentKey) {
        let Some(remote) = self.remote.id() else { return };
        let Some(collection) = self.collections.get_mut(key.collection.0 as usize) else { return };
        let schema = collection.schema.clone();
        let Some(document) = collection.documents.get_mut(&key.id) else { return };
        let State::Live(live) = std::mem::take(&mut document.state) else { return };
        self.live.count -= 1;
        document.bases = inspect::guarded("read", || live.into_shown(&*schema)).ok();
        collection.discarding.insert(key.id.clone());
        collection.outbox.forget(&key.id);
        // A push may be on its way. If the backend takes it, its changes come as those of another app do.
        self.remote.echoes.clear();
        // Its changes have numbers of this run's actor, which must not be given to other changes.
        self.actor = next_actor(&self.actor);
        collection.refused.remove(&key.id);
        let (name, id) = (collection.name.clone(), key.id.clone());
        self.write(Write::Discard { remote, collection: name, id });
        self.effects.push_back(Effect::Refused(key.clone(), None));
        // The store may have dropped changes of which it did not know that the backend has them. Then it says that the
        // log is to be read again, and no page may move the checkpoint before.
        for page in self.pages.iter_mut().filter(|page| page.collection == key.collection) {
            page.loading.insert(key.id.clone());
        }
        self.load_discarded(key);
    }

    /// A discard has dropped changes that the log may have: it is read again from the beginning.
    pub(super) fn read_again(&mut self, index: CollectionIndex) {
        self.pages.retain(|page| page.collection != index);
        let Some(collection) = self.collections.get_mut(index.0 as usize) else { return };
        let checkpoint = Checkpoint { position: Position::default(), ..collection.pull.checkpoint() };
        collection.pull.restart(checkpoint);
        self.effects.push_back(Effect::Backend(ToBackend::Subscribe { collection: index, checkpoint }));
    }

    /// A discarded document was read again: the world gets it as the backend has it.
    pub(super) fn discarded(&mut self, key: &DocumentKey) {
        let Some(collection) = self.collections.get_mut(key.collection.0 as usize) else { return };
        let Some(document) = collection.documents.get_mut(&key.id) else { return };
        let State::Live(live) = &mut document.state else { return };
        live.rebase();
        let heads = live.heads();
        let is_left = !heads.is_empty();
        if is_left {
            self.last_write += 1;
            live.last_write = self.last_write;
            let write = DocumentWrite {
                collection: collection.name.clone(),
                id: key.id.clone(),
                chunks: Vec::new(),
                heads,
                value: live.cached(),
            };
            self.effects.push_back(Effect::Store(StoreRequest::Write(self.last_write, Write::Document(write))));
        }
        if live.is_whole() {
            return deliver(&mut self.effects, key, document, Origin::Remote);
        }
        document.generation += 1;
        let (generation, seen) = (document.generation, document.seen);
        collection.gone.insert(key.id.clone(), generation);
        if !is_left {
            collection.documents.remove(&key.id);
            collection.seen.insert(key.id.clone(), seen);
            self.live.count -= 1;
        }
        self.effects.push_back(Effect::Deliver(Delta {
            document: key.clone(),
            generation,
            seen,
            value: None,
            origin: Origin::Remote,
        }));
    }

    /// Whether this is an edit of a new document that was discarded before the world showed that it is gone. A document
    /// that is made anew meanwhile has later versions than that one: the world must not take them for older.
    pub(super) fn is_of_a_discarded_document(&mut self, edit: &Edit) -> bool {
        let Some(collection) = self.collections.get_mut(edit.document.collection.0 as usize) else { return false };
        let id = &edit.document.id;
        let Some(gone) = collection.gone.get(id).copied() else { return false };
        let is_spawned = matches!(&edit.kind, EditKind::Put { put: Put::Spawned | Put::Ensured, .. });
        if edit.generation < gone && !is_spawned {
            return true;
        }
        if matches!(&edit.kind, EditKind::Put { .. }) {
            collection.gone.remove(id);
            let seen = collection.seen.remove(id).unwrap_or_default();
            collection.documents.entry(id.clone()).or_insert_with(|| {
                self.live.count += 1;
                let state = State::Live(Box::new(Live::new(&self.actor)));
                Document { generation: gone.max(edit.generation), seen, state, ..Document::default() }
            });
        }
        false
    }
}

/// Another actor of this run. It differs from the others in the bytes at its start.
fn next_actor(actor: &ActorId) -> ActorId {
    let mut bytes = actor.to_bytes().to_vec();
    for byte in &mut bytes {
        let (next, overflows) = byte.overflowing_add(1);
        *byte = next;
        if !overflows {
            break;
        }
    }
    ActorId::from(bytes)
}

/// The hashes of these chunks, and of the changes in them.
pub(super) fn changes_in(chunks: &[Vec<u8>]) -> Vec<ChangeHash> {
    let mut hashes = Vec::new();
    for chunk in chunks {
        match inspect::is_snapshot(chunk) {
            false => hashes.extend(change_hash(chunk)),
            true => {
                let hash = chunk_hash(chunk);
                hashes.push(hash);
                hashes.extend(changes_of(hash, chunk).into_iter().map(|change| change.hash));
            }
        }
    }
    hashes
}
