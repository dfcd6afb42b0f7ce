//! The replica driven by hand: the test is the world, the store and the backend.

mod forged;
mod pruning;
mod reading;
mod refused;
mod sending;
mod versions;

use std::{collections::BTreeMap, sync::Arc};

use automerge::{AutoCommit, ChangeHash, ReadDoc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::*;
use crate::{
    DocumentKey,
    format::{self, Counter, Value},
    limits,
    record::{FromBackend, RemoteId, ToBackend},
};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Task {
    text: String,
    done: bool,
    votes: Counter,
}

struct Typed<T>(std::marker::PhantomData<fn() -> T>);

impl<T: Serialize + DeserializeOwned + 'static> Schema for Typed<T> {
    fn view(&self, document: &Value, mask: u32) -> View {
        assert_ne!(mask, PANICS, "as a component's own code may");
        match format::from_value::<T>(document).and_then(|value| format::to_value(&value)) {
            Ok(value) if mask != 0 => value.into(),
            Ok(_) => Value::Map(BTreeMap::new()).into(),
            Err(_) => View { value: Value::Map(BTreeMap::new()), misfits: mask },
        }
    }
}

/// A component type whose code panics.
const PANICS: u32 = 1 << 7;

const TASKS: CollectionIndex = CollectionIndex(0);

/// A document's chunks as stored, each with whether it was made here.
type Chunks = Vec<(Arc<[u8]>, bool)>;

/// A replica and everything around it.
struct Peer {
    replica: Replica,
    chunks: BTreeMap<DocumentId, Chunks>,
    sent: Vec<ChangeHash>,
    checkpoint: Option<Checkpoint>,
    delivered: Vec<Delta>,
    pushes: Vec<Push>,
    subscribed: Vec<Checkpoint>,
    failures: Vec<FailureKind>,
    /// The documents that the replica reports as refused.
    refused: BTreeMap<DocumentId, RefusedWrite>,
    /// The same as the store has it.
    stored_refusals: BTreeMap<DocumentId, RefusedWrite>,
    edited: Vec<EditNumber>,
    /// How often the replica reported that everything of the backend is taken in.
    reads_told: usize,
    /// The root fields each edit changed.
    compared: Vec<Vec<String>>,
    /// Writes are reported as durable only while this is set.
    durable: bool,
    /// Answers to reads of the store are held back while this is set.
    reads_wait: bool,
    reads: Vec<Event>,
    /// Loaded documents are held back while this is set.
    loads_wait: bool,
    /// Milliseconds since 1970.
    now: i64,
    last_write: WriteId,
    edits: BTreeMap<DocumentId, EditSeq>,
}

impl Peer {
    fn new(number: u8) -> Self {
        let schema = Arc::new(Typed::<Task>(std::marker::PhantomData));
        let collections = vec![CollectionSchema { name: "tasks".into(), schema }];
        let mut peer = Self {
            replica: Replica::new([number; 16], collections, true),
            chunks: BTreeMap::new(),
            sent: Vec::new(),
            checkpoint: None,
            delivered: Vec::new(),
            pushes: Vec::new(),
            subscribed: Vec::new(),
            failures: Vec::new(),
            refused: BTreeMap::new(),
            stored_refusals: BTreeMap::new(),
            edited: Vec::new(),
            reads_told: 0,
            compared: Vec::new(),
            durable: true,
            reads_wait: false,
            reads: Vec::new(),
            loads_wait: false,
            now: 1_700_000_000_000,
            last_write: 0,
            edits: BTreeMap::new(),
        };
        let state = RemoteState { remote: None, unsent: vec![Vec::new()], ..RemoteState::default() };
        peer.handle(Event::Remote { epoch: None, state });
        peer
    }

    fn connected(number: u8) -> Self {
        let mut peer = Self::new(number);
        peer.handle(Event::Connected);
        peer.handle(Event::Backend(FromBackend::Page(page(0, 0, &[]))));
        peer
    }

    fn handle(&mut self, event: Event) {
        self.replica.handle(event, self.now);
        while let Some(effect) = self.replica.poll() {
            if let Some(event) = self.carry_out(effect) {
                self.replica.handle(event, self.now);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Deliver(delta) => self.delivered.push(delta),
            Effect::Edited(edit, _) => self.edited.push(edit),
            Effect::Read(_) => self.reads_told += 1,
            Effect::Compared { fields, .. } => self.compared.push(fields),
            Effect::Failed { kind, .. } => self.failures.push(kind),
            Effect::Refused(document, refused) => note(&mut self.refused, document.id, refused),
            Effect::Backend(ToBackend::Push(push)) => self.pushes.push(push),
            Effect::Backend(ToBackend::Subscribe { checkpoint, .. }) => self.subscribed.push(checkpoint),
            Effect::Store(StoreRequest::Load(document) | StoreRequest::LoadDiscarded(document)) => {
                let chunks = self.chunks.get(&document.id).into_iter().flatten().map(|(bytes, _)| bytes.clone());
                let loaded = Event::Loaded { chunks: chunks.collect(), document };
                if self.loads_wait {
                    self.reads.push(loaded);
                    return None;
                }
                return Some(loaded);
            }
            Effect::Store(StoreRequest::Write(id, write)) => {
                match write {
                    Write::Document(write) => {
                        let chunks = self.chunks.entry(write.id).or_default();
                        chunks.extend(write.chunks.into_iter().map(|chunk| (chunk.bytes, chunk.remote.is_none())));
                    }
                    Write::Sent { changes, .. } => self.sent.extend(changes),
                    Write::Checkpoint { checkpoint, .. } => self.checkpoint = Some(checkpoint),
                    Write::Forget { id, .. } => drop(self.chunks.remove(&id)),
                    Write::Refused { id, refused, .. } => note(&mut self.stored_refusals, id, refused),
                    Write::Discard { id, .. } => {
                        let chunks = self.chunks.entry(id.clone()).or_default();
                        chunks.retain(|(bytes, local)| !local || self.sent.contains(&change_hash(bytes).unwrap()));
                        note(&mut self.stored_refusals, id, None);
                    }
                }
                self.last_write = id;
                return self.durable.then_some(Event::Written(id));
            }
            Effect::Store(StoreRequest::LookUp(Lookup::Epoch(epoch))) => {
                // A log without an epoch gets this epoch, as in the store.
                let number = if epoch == "epoch" || epoch.is_empty() { 1 } else { 2 };
                let unsent = if number == 1 { self.unsent() } else { self.chunks.keys().cloned().collect() };
                let state = RemoteState {
                    remote: Some(RemoteId(number)),
                    checkpoints: vec![Checkpoint::default()],
                    unsent: vec![unsent],
                    unread: vec![!self.sent.is_empty()],
                };
                return Some(Event::Remote { epoch: Some(epoch), state });
            }
            Effect::Store(StoreRequest::LookUp(Lookup::Forget(_))) => {
                self.sent.clear();
                let unsent = vec![self.chunks.keys().cloned().collect()];
                let state = RemoteState { remote: Some(RemoteId(1)), unsent, ..RemoteState::default() };
                return Some(Event::Remote { epoch: None, state });
            }
            Effect::Store(StoreRequest::LookUp(Lookup::LastUsed) | StoreRequest::Rebuild) => {
                panic!("only the worker asks for this");
            }
            Effect::Store(StoreRequest::ReadUnsent { collection, documents, read, .. }) => {
                let documents = documents.into_iter().map(|id| self.read_unsent(id)).collect();
                let answer = Event::Unsent { collection, documents, read };
                if self.reads_wait {
                    self.reads.push(answer);
                    return None;
                }
                return Some(answer);
            }
        }
        None
    }

    fn unsent(&self) -> Vec<DocumentId> {
        let unsent = |chunks: &Chunks| {
            chunks.iter().any(|(bytes, local)| *local && !self.sent.contains(&change_hash(bytes).unwrap()))
        };
        self.chunks.iter().filter(|(_, chunks)| unsent(chunks)).map(|(id, _)| id.clone()).collect()
    }

    fn read_unsent(&self, id: DocumentId) -> UnsentDocument {
        let changes = self.chunks[&id].iter();
        let changes = changes
            .map(|(bytes, _)| (change_hash(bytes).unwrap(), bytes.clone()))
            .map(|(hash, bytes)| UnsentChange { hash, chunk: hash, bytes });
        UnsentDocument { changes: changes.collect(), id, fields: None }
    }

    /// The world edits a document that it shows as `generation`.
    fn edit(&mut self, id: &str, generation: Generation, kind: EditKind) {
        let id = DocumentId::new(id);
        let seq = self.edits.entry(id.clone()).or_default();
        *seq += 1;
        let seq = *seq;
        let document = DocumentKey { collection: TASKS, id };
        self.handle(Event::Edit(1, Edit { document, generation, seq, kind }));
    }

    fn put(&mut self, id: &str, generation: Generation, task: &Task) {
        self.edit(id, generation, EditKind::put((format::to_value(task).unwrap(), 1)));
    }

    fn apply(&mut self, id: &str, generation: Generation) {
        let document = DocumentKey { collection: TASKS, id: DocumentId::new(id) };
        self.handle(Event::Applied(vec![(document, generation)]));
    }

    fn checkpoint_at(&self) -> Option<Position> {
        self.checkpoint.map(|checkpoint| checkpoint.position)
    }

    /// All changes that the replica has made, as rows of the log.
    fn made(&self) -> Vec<Vec<u8>> {
        self.pushes.iter().flat_map(|push| &push.documents).flat_map(|d| &d.changes).map(|(_, b)| b.to_vec()).collect()
    }

    /// The document, read from its stored chunks.
    fn stored(&self, id: &str) -> Option<Task> {
        let all: Vec<u8> = self.chunks[&DocumentId::new(id)].iter().flat_map(|(bytes, _)| bytes.to_vec()).collect();
        let mut document = AutoCommit::new();
        document.load_incremental(&all).unwrap();
        assert!(document.get_missing_deps(&[]).is_empty());
        let value = format::read(&document);
        (!value.is_deleted()).then(|| format::from_value(&value).unwrap())
    }

    fn last(&self) -> (Generation, EditSeq, Option<Task>) {
        let delta = self.delivered.last().expect("nothing was delivered");
        let task = delta.value.as_ref().map(|value| format::from_value(value).unwrap());
        (delta.generation, delta.seen, task)
    }

    fn accept(&mut self) {
        let push = self.pushes.last().expect("nothing was pushed").clone();
        let results = push.documents.iter().map(|document| (document.id.clone(), Ok(()))).collect();
        self.handle(Event::Backend(FromBackend::Answered(PushAnswer {
            number: push.number,
            collection: TASKS,
            epoch: "epoch".into(),
            results,
        })));
    }

    fn refuse(&mut self, code: &str) {
        let push = self.pushes.last().expect("nothing was pushed").clone();
        let refusal = Refusal::new(code, "no");
        let results = push.documents.iter().map(|document| (document.id.clone(), Err(refusal.clone()))).collect();
        self.handle(Event::Backend(FromBackend::Answered(PushAnswer {
            number: push.number,
            collection: TASKS,
            epoch: "epoch".into(),
            results,
        })));
    }
}

fn note(refusals: &mut BTreeMap<DocumentId, RefusedWrite>, id: DocumentId, refused: Option<RefusedWrite>) {
    match refused {
        Some(refused) => drop(refusals.insert(id, refused)),
        None => drop(refusals.remove(&id)),
    }
}

fn task(text: &str) -> Task {
    Task { text: text.into(), ..Task::default() }
}

fn at(ts: i64) -> Position {
    Position { ts, ordinal: 0 }
}

fn page(from: i64, to: i64, rows: &[(&str, &[u8])]) -> Page {
    let rows = rows.iter().map(|(id, bytes)| PulledChunk {
        id: DocumentId::new(*id),
        position: at(to),
        bytes: bytes.to_vec(),
        part: None,
        author: None,
    });
    Page {
        collection: TASKS,
        from: at(from),
        rows: rows.collect(),
        to: at(to),
        has_more: false,
        epoch: "epoch".into(),
        pruned: None,
    }
}

/// Gives everything that one peer has sent to another, as a page.
fn relay(from: &Peer, id: &str, to: &mut Peer, start: i64, end: i64) {
    let made = from.made();
    let rows: Vec<(&str, &[u8])> = made.iter().map(|bytes| (id, &bytes[..])).collect();
    to.handle(Event::Backend(FromBackend::Page(page(start, end, &rows))));
}

/// Two peers that both show the same document as generation 1.
fn pair() -> (Peer, Peer) {
    let mut first = Peer::connected(1);
    first.put("a", 0, &task("start"));
    first.accept();
    let mut second = Peer::connected(2);
    relay(&first, "a", &mut second, 0, 1);
    second.apply("a", 1);
    first.pushes.clear();
    (first, second)
}
