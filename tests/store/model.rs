//! After any sequence of writes, the store has the same content as a simple model of it.

use std::collections::{BTreeMap, BTreeSet};

use automerge::ChangeHash;
use bevy_convex_replicate::{
    replica::{Checkpoint, Position},
    store::{ChunkKind, DocumentWrite, RemoteId, Store, StoreError, Write},
};
use proptest::prelude::*;

use crate::author::{Author, hashes, names, open};

const COLLECTIONS: [&str; 2] = ["tasks", "notes"];
const DOCUMENTS: usize = 4;
const REMOTES: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Edit {
        document: usize,
    },
    Receive {
        document: usize,
        remote: usize,
    },
    /// A remote receives this many unsent changes of a document.
    Send {
        document: usize,
        remote: usize,
        changes: usize,
    },
    /// An earlier document write is repeated, possibly from a remote.
    Repeat {
        write: usize,
        remote: Option<usize>,
    },
    Checkpoint {
        collection: usize,
        remote: usize,
        position: (i64, u32),
        pruned: Option<i64>,
    },
    /// The batch is committed.
    Commit,
    /// The batch fails.
    Fail,
    Compact {
        document: usize,
        remote: usize,
    },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let (document, remote) = (0..DOCUMENTS, 0..REMOTES);
    prop_oneof![
        4 => document.clone().prop_map(|document| Step::Edit { document }),
        3 => (document.clone(), remote.clone()).prop_map(|(document, remote)| Step::Receive { document, remote }),
        3 => (document.clone(), remote.clone(), 1..6_usize)
            .prop_map(|(document, remote, changes)| Step::Send { document, remote, changes }),
        2 => (0..64_usize, proptest::option::of(remote.clone()))
            .prop_map(|(write, remote)| Step::Repeat { write, remote }),
        1 => (0..COLLECTIONS.len(), remote.clone(), (0..=i64::MAX, any::<u32>()), any::<Option<i64>>()).prop_map(
            |(collection, remote, position, pruned)| Step::Checkpoint { collection, remote, position, pruned },
        ),
        3 => Just(Step::Commit),
        1 => Just(Step::Fail),
        2 => (document, remote).prop_map(|(document, remote)| Step::Compact { document, remote }),
        1 => Just(Step::Reopen),
    ]
}

/// A chunk as the store's interface shows it.
#[derive(Clone, Debug, PartialEq)]
struct ModelChunk {
    hash: ChangeHash,
    kind: ChunkKind,
    holder: Option<RemoteId>,
    fields: Option<Vec<String>>,
    age: u64,
}

#[derive(Clone, Default)]
struct Model {
    documents: BTreeMap<usize, Vec<ModelChunk>>,
    checkpoints: BTreeMap<(usize, usize), Checkpoint>,
    age: u64,
}

impl Model {
    fn write(&mut self, document: usize, write: &DocumentWrite) {
        let chunks = self.documents.entry(document).or_default();
        for chunk in &write.chunks {
            match chunks.iter_mut().find(|known| known.hash == chunk.hash) {
                Some(known) => known.holder = chunk.remote.or(known.holder),
                None => {
                    self.age += 1;
                    let fields = chunk.remote.is_none().then(|| chunk.fields.clone());
                    chunks.push(ModelChunk {
                        hash: chunk.hash,
                        kind: chunk.kind,
                        holder: chunk.remote,
                        fields,
                        age: self.age,
                    });
                }
            }
        }
    }

    fn unsent(&self, document: usize, remote: Option<RemoteId>) -> Vec<&ModelChunk> {
        let chunks = self.documents.get(&document).into_iter().flatten();
        chunks.filter(|chunk| remote.is_none() || chunk.holder != remote).collect()
    }
}

struct Run {
    folder: tempfile::TempDir,
    store: Option<Store>,
    authors: Vec<Author>,
    remotes: Vec<RemoteId>,
    /// The committed state, and the state after the batch.
    committed: Model,
    next: Model,
    batch: Vec<Write>,
    written: Vec<(usize, DocumentWrite)>,
    number: i64,
}

impl Run {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(&folder);
        let remotes =
            (0..REMOTES).map(|epoch| store.remote("https://a.example", &epoch.to_string()).unwrap()).collect();
        let authors = (0..DOCUMENTS)
            .map(|number| Author::new(COLLECTIONS[number % COLLECTIONS.len()], &format!("document {number}")))
            .collect();
        Self {
            folder,
            store: Some(store),
            authors,
            remotes,
            committed: Model::default(),
            next: Model::default(),
            batch: Vec::new(),
            written: Vec::new(),
            number: 0,
        }
    }

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().unwrap()
    }

    fn write(&mut self, document: usize, write: DocumentWrite) {
        self.next.write(document, &write);
        self.batch.push(Write::Document(write.clone()));
        self.written.push((document, write));
    }

    fn commit(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        self.store().commit(&batch).unwrap();
        self.committed = self.next.clone();
    }

    fn carry_out(&mut self, step: Step) {
        self.number += 1;
        match step {
            Step::Edit { document } => {
                let field = if self.number % 2 == 0 { "title" } else { "done" };
                let write = self.authors[document].edit(field, self.number);
                self.write(document, write);
            }
            Step::Receive { document, remote } => {
                let write = self.authors[document].receive(self.remotes[remote], "title", self.number);
                self.write(document, write);
            }
            Step::Send { document, remote, changes } => {
                let remote = self.remotes[remote];
                let sent: Vec<ChangeHash> =
                    self.next.unsent(document, Some(remote)).iter().take(changes).map(|chunk| chunk.hash).collect();
                for chunk in self.next.documents.get_mut(&document).into_iter().flatten() {
                    if sent.contains(&chunk.hash) {
                        chunk.holder = Some(remote);
                    }
                }
                self.batch.push(self.authors[document].sent(remote, sent));
            }
            Step::Repeat { write, remote } => {
                if self.written.is_empty() {
                    return;
                }
                let (document, mut write) = self.written[write % self.written.len()].clone();
                // Changes that a snapshot covers come only from remotes; here they are known.
                let known = |hash| self.next.documents[&document].iter().any(|chunk| chunk.hash == hash);
                if !hashes(&write).into_iter().all(known) {
                    return;
                }
                for chunk in &mut write.chunks {
                    chunk.remote = remote.map(|remote| self.remotes[remote]);
                }
                self.next.write(document, &write);
                self.batch.push(Write::Document(write));
            }
            Step::Checkpoint { collection, remote, position: (ts, ordinal), pruned } => {
                let checkpoint = Checkpoint { position: Position { ts, ordinal }, pruned };
                self.next.checkpoints.insert((collection, remote), checkpoint);
                self.batch.push(Write::Checkpoint {
                    remote: self.remotes[remote],
                    collection: COLLECTIONS[collection].to_owned(),
                    checkpoint,
                });
            }
            Step::Commit => self.commit(),
            Step::Fail => {
                let mut batch = self.batch.clone();
                batch.insert(
                    batch.len() / 2,
                    Write::Checkpoint {
                        remote: RemoteId(-1),
                        collection: "tasks".to_owned(),
                        checkpoint: Checkpoint::default(),
                    },
                );
                let error = self.store().commit(&batch).unwrap_err();
                assert!(matches!(error, StoreError::Rejected { .. }), "{error}");
            }
            Step::Compact { document, remote } => {
                self.commit();
                self.compact(document, self.remotes[remote]);
            }
            Step::Reopen => {
                self.store = None;
                self.store = Some(open(&self.folder));
            }
        }
    }

    fn compact(&mut self, document: usize, remote: RemoteId) {
        let (collection, id) = (self.authors[document].collection.clone(), self.authors[document].id.clone());
        let before = self.committed.documents.get(&document).cloned().unwrap_or_default();
        let (held, others): (Vec<_>, Vec<_>) = before.into_iter().partition(|chunk| chunk.holder == Some(remote));
        let done = self.store().compact(&collection, &id, remote).unwrap();
        // A chunk that the remote holds may depend on one that it does not hold.
        assert!(!done || held.len() > 1);
        assert!(done || held.len() < 2 || !others.is_empty());
        if done {
            let after = self.store().chunks(&collection, &id).unwrap();
            assert_eq!(after.len(), 1 + others.len());
            let is_new = |hash| others.iter().all(|other| other.hash != hash);
            let new: Vec<_> = after.iter().map(|chunk| chunk.hash).filter(|hash| is_new(*hash)).collect();
            assert_eq!(new.len(), 1);
            let snapshot = ModelChunk {
                hash: new[0],
                kind: ChunkKind::Snapshot,
                holder: Some(remote),
                fields: None,
                age: held.iter().map(|chunk| chunk.age).min().unwrap(),
            };
            self.committed.documents.insert(document, std::iter::once(snapshot).chain(others).collect());
            self.next = self.committed.clone();
        }
    }

    fn check(&mut self) {
        let store = self.store.as_ref().unwrap();
        let model = &self.committed;
        let known: BTreeSet<usize> = model.documents.keys().copied().collect();
        for (index, collection) in COLLECTIONS.iter().enumerate() {
            let here: Vec<usize> =
                known.iter().copied().filter(|document| document % COLLECTIONS.len() == index).collect();
            let documents = store.documents(collection, None, 100).unwrap();
            assert_eq!(documents.len(), here.len());
            for remote in self.remotes.iter().copied().map(Some).chain([None]) {
                let mut expected: Vec<(u64, usize)> = here
                    .iter()
                    .filter_map(|document| Some((model.unsent(*document, remote).first()?.age, *document)))
                    .collect();
                expected.sort();
                let expected: Vec<&str> =
                    expected.iter().map(|(_, document)| self.authors[*document].id.as_str()).collect();
                assert_eq!(names(&store.unsent(collection, remote, 100).unwrap()), expected);
                assert_eq!(names(&store.unsent(collection, remote, 1).unwrap()), expected[..expected.len().min(1)]);
                assert_eq!(store.unsent_count(collection, remote).unwrap(), expected.len());
            }
            for (number, remote) in self.remotes.iter().enumerate() {
                let expected = model.checkpoints.get(&(index, number)).copied();
                assert_eq!(store.checkpoint(*remote, collection).unwrap(), expected);
            }
        }
        for (document, chunks) in &model.documents {
            let author = &self.authors[*document];
            let stored = store.chunks(&author.collection, &author.id).unwrap();
            let holders: Vec<_> = stored.iter().map(|chunk| (chunk.hash, chunk.kind, chunk.remote)).collect();
            let expected: Vec<_> = chunks.iter().map(|chunk| (chunk.hash, chunk.kind, chunk.holder)).collect();
            assert_eq!(holders, expected);
            for remote in self.remotes.iter().copied().map(Some).chain([None]) {
                let unsent = store.unsent_chunks(&author.collection, &author.id, remote).unwrap();
                let found: Vec<_> = unsent.chunks.iter().map(|change| (change.hash, change.fields.clone())).collect();
                let expected: Vec<_> =
                    model.unsent(*document, remote).iter().map(|chunk| (chunk.hash, chunk.fields.clone())).collect();
                assert_eq!(found, expected);
            }
        }
        assert!(store.take_damaged().is_empty());
    }
}

proptest! {
    // Each case makes some dozens of synchronised commits.
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_store_behaves_like_its_model(steps in proptest::collection::vec(step(), 1..40)) {
        let mut run = Run::new();
        for step in steps {
            run.carry_out(step);
            run.check();
        }
        run.commit();
        run.check();
        let Run { store, authors, committed, .. } = &mut run;
        for document in committed.documents.keys() {
            authors[*document].assert_stored(store.as_ref().unwrap());
        }
    }
}
