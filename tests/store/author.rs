//! Makes changes of documents and the writes that store them.

use std::{path::Path, sync::Arc};

use automerge::{ActorId, AutoCommit, Change, ChangeHash, ROOT, transaction::Transactable};
use bevy_convex_replicate::{
    DocumentId, format,
    store::{ChunkKind, DocumentWrite, RemoteId, Store, StoredChunk, Write},
};

/// A document and its whole history.
pub struct Author {
    pub collection: String,
    pub id: DocumentId,
    pub document: AutoCommit,
}

impl Author {
    pub fn new(collection: &str, id: &str) -> Self {
        Self {
            collection: collection.to_owned(),
            id: DocumentId::new(id),
            document: AutoCommit::new().with_actor(ActorId::random()),
        }
    }

    /// Sets a field in this app.
    pub fn edit(&mut self, field: &str, value: i64) -> DocumentWrite {
        let change = set(&mut self.document, field, value);
        self.write(vec![chunk(&change, None, &[field])])
    }

    /// Sets a field in another app that has this app's state, and receives the change from a remote.
    pub fn receive(&mut self, remote: RemoteId, field: &str, value: i64) -> DocumentWrite {
        let mut other = self.document.fork().with_actor(ActorId::random());
        let change = set(&mut other, field, value);
        self.document.apply_changes([change.clone()]).unwrap();
        self.write(vec![chunk(&change, Some(remote), &[])])
    }

    pub fn write(&mut self, chunks: Vec<StoredChunk>) -> DocumentWrite {
        DocumentWrite {
            collection: self.collection.clone(),
            id: self.id.clone(),
            chunks,
            heads: self.document.get_heads(),
            value: format::read(&self.document),
        }
    }

    pub fn sent(&self, remote: RemoteId, changes: Vec<ChangeHash>) -> Write {
        Write::Sent { remote, collection: self.collection.clone(), id: self.id.clone(), changes }
    }

    /// Asserts that the store has this document in its present state, in its cache and in its changes.
    #[track_caller]
    pub fn assert_stored(&mut self, store: &Store) {
        let stored = store.document(&self.collection, &self.id).unwrap().expect("the document is stored");
        assert_eq!(stored.heads, self.document.get_heads());
        assert_eq!(stored.value, format::read(&self.document));
        let mut loaded = load(store, &self.collection, &self.id);
        assert_eq!(loaded.get_heads(), self.document.get_heads());
        assert_eq!(format::read(&loaded), stored.value);
    }
}

fn set(document: &mut AutoCommit, field: &str, value: i64) -> Change {
    document.put(ROOT, field, value).unwrap();
    document.commit();
    document.get_last_local_change().unwrap()
}

fn chunk(change: &Change, remote: Option<RemoteId>, fields: &[&str]) -> StoredChunk {
    StoredChunk {
        hash: change.hash(),
        kind: ChunkKind::Change,
        bytes: Arc::from(change.raw_bytes()),
        remote,
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
    }
}

/// The document that the chunks make, loaded one by one in their order.
pub fn load(store: &Store, collection: &str, id: &DocumentId) -> AutoCommit {
    let mut document = AutoCommit::new();
    for chunk in store.chunks(collection, id).unwrap() {
        document.load_incremental(&chunk.bytes).unwrap();
    }
    document
}

pub fn hashes(write: &DocumentWrite) -> Vec<ChangeHash> {
    write.chunks.iter().map(|chunk| chunk.hash).collect()
}

pub fn names(ids: &[DocumentId]) -> Vec<&str> {
    ids.iter().map(DocumentId::as_str).collect()
}

/// A temporary folder with a store in it.
pub fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    (folder, store)
}

pub fn open(folder: impl AsRef<Path>) -> Store {
    Store::open(&folder.as_ref().join("store.sqlite3")).unwrap()
}

pub fn commit(store: &mut Store, write: &DocumentWrite) {
    store.commit(&[Write::Document(write.clone())]).unwrap();
}
