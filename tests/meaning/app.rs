//! An app with one document and without a world: a replica that the test drives, and the value that the entity shows.
//! `tests/laws` uses it too.
#![allow(dead_code)]

use std::sync::Arc;

use automerge::{AutoCommit, ChangeHash};
use bevy_convex_replicate::{
    CollectionIndex, DocumentId, DocumentKey,
    format::{self, FormatError, Value},
    replica::{
        CollectionSchema, Delta, Edit, EditKind, Effect, Event, FromBackend, Kept, Lookup, Page, Position, PulledChunk,
        Push, PushAnswer, Put, RemoteState, Replica, Schema, StoreRequest, ToBackend, View,
    },
    store::{RemoteId, Write},
};
use serde::Serialize;

const COLLECTION: CollectionIndex = CollectionIndex(0);
const NOW: i64 = 1_700_000_000_000;

/// The component type of one version of an app.
pub trait Version: Send + Sync + 'static {
    type Component: Serialize + Clone;

    /// Reads a document as the component.
    fn read(&self, document: &Value) -> Result<Self::Component, FormatError>;
}

/// The log of a backend, in order.
#[derive(Default)]
pub struct Log(Vec<Vec<u8>>);

struct VersionSchema<V>(Arc<V>);

impl<V: Version> Schema for VersionSchema<V> {
    fn view(&self, document: &Value, mask: u32) -> View {
        let nothing = Value::Map(Default::default());
        match self.0.read(document).and_then(|component| format::to_value(&component)) {
            Ok(value) if mask & 1 != 0 => View { value, misfits: 0 },
            fit => View { value: nothing, misfits: u32::from(fit.is_err()) & mask },
        }
    }
}

pub struct App<V: Version> {
    version: Arc<V>,
    replica: Replica,
    id: DocumentId,
    /// The content of the app's store as a document.
    document: AutoCommit,
    chunks: Vec<Arc<[u8]>>,
    pub shown: Option<V::Component>,
    generation: u64,
    captures: u64,
    pushes: Vec<Push>,
    delivered: Vec<Delta>,
    read: usize,
    /// The messages of the failures that the app received.
    pub failures: Vec<String>,
    /// The number of changes in the app's store.
    pub stored: usize,
}

impl<V: Version> App<V> {
    pub fn of_version(number: u8, version: V, id: DocumentId) -> Self {
        let version = Arc::new(version);
        let schema = Arc::new(VersionSchema(version.clone()));
        let collections = vec![CollectionSchema { name: "things".into(), schema }];
        let mut app = Self {
            replica: Replica::new([number; 16], collections, true),
            version,
            id,
            document: AutoCommit::new(),
            chunks: Vec::new(),
            shown: None,
            generation: 0,
            captures: 0,
            pushes: Vec::new(),
            delivered: Vec::new(),
            read: 0,
            failures: Vec::new(),
            stored: 0,
        };
        let state = RemoteState { unsent: vec![Vec::new()], ..RemoteState::default() };
        app.handle(Event::Remote { epoch: None, state });
        app.handle(Event::Connected);
        app.pull(&Log::default());
        app
    }

    fn handle(&mut self, event: Event) {
        self.replica.handle(event, NOW);
        while let Some(effect) = self.replica.poll() {
            let answer = match effect {
                Effect::Deliver(delta) => {
                    self.delivered.push(delta);
                    None
                }
                Effect::Failed { message, .. } => {
                    self.failures.push(message);
                    None
                }
                Effect::Backend(ToBackend::Push(push)) => {
                    self.pushes.push(push);
                    None
                }
                Effect::Store(StoreRequest::Write(id, write)) => {
                    if let Write::Document(write) = write {
                        for chunk in write.chunks {
                            self.stored += 1;
                            self.document.load_incremental(&chunk.bytes).unwrap();
                            self.chunks.push(chunk.bytes);
                        }
                    }
                    Some(Event::Written(id))
                }
                Effect::Store(StoreRequest::Load(document)) => {
                    Some(Event::Loaded { document, chunks: self.chunks.clone() })
                }
                Effect::Store(StoreRequest::LookUp(Lookup::Epoch(epoch))) => Some(Event::Remote {
                    epoch: Some(epoch),
                    state: RemoteState {
                        remote: Some(RemoteId(1)),
                        unsent: vec![Vec::new()],
                        ..RemoteState::default()
                    },
                }),
                _ => None,
            };
            if let Some(event) = answer {
                self.replica.handle(event, NOW);
            }
        }
    }

    fn key(&self) -> DocumentKey {
        DocumentKey { collection: COLLECTION, id: self.id.clone() }
    }

    fn put(&mut self, component: V::Component, put: Put) {
        self.captures += 1;
        let kind = EditKind::Put { value: (format::to_value(&component).unwrap(), 1), put };
        self.shown = Some(component);
        let (number, document, generation) = (self.captures, self.key(), self.generation);
        self.handle(Event::Edit(number, Edit { document, generation, seq: number, kind }));
    }

    /// Spawns an entity with this component and the document's name.
    pub fn spawn(&mut self, component: V::Component) {
        self.put(component, Put::Spawned);
    }

    /// Makes the document with this component if it does not exist.
    pub fn ensure(&mut self, component: V::Component) {
        self.put(component, Put::Ensured);
    }

    /// Changes the component that the entity shows, as a system does.
    pub fn edit(&mut self, edit: impl FnOnce(&mut V::Component)) {
        let mut component = self.shown().clone();
        edit(&mut component);
        self.put(component, Put::Edited);
    }

    /// Spawns the entity with this component or, after that, replaces its component.
    pub fn set(&mut self, component: V::Component) {
        let is_new = self.captures == 0 && self.generation == 0;
        self.put(component, if is_new { Put::Spawned } else { Put::Edited });
    }

    /// The component that the entity shows.
    #[track_caller]
    pub fn shown(&self) -> &V::Component {
        self.shown.as_ref().expect("the entity shows the document")
    }

    /// Whether an entity shows the document.
    pub fn is_shown(&self) -> bool {
        self.shown.is_some()
    }

    /// The content of the document.
    pub fn value(&self) -> Value {
        format::read(&self.document)
    }

    /// The heads of the document.
    pub fn heads(&mut self) -> Vec<ChangeHash> {
        self.document.get_heads()
    }

    /// The concurrent values of a root field.
    pub fn conflicts(&self, field: &str) -> Vec<Value> {
        format::conflicts(&self.document, field)
    }

    /// Sends everything that is unsent.
    pub fn push(&mut self, log: &mut Log) {
        while !self.pushes.is_empty() {
            let push = self.pushes.remove(0);
            let mut results = Vec::new();
            for document in push.documents {
                log.0.extend(document.changes.iter().map(|(_, bytes)| bytes.to_vec()));
                results.push((document.id, Ok(())));
            }
            let epoch = "log".into();
            self.handle(Event::Backend(FromBackend::Answered(PushAnswer {
                number: push.number,
                collection: COLLECTION,
                epoch,
                results,
            })));
        }
    }

    /// Reads the new part of the log.
    pub fn pull(&mut self, log: &Log) {
        let at = |index: usize| Position { ts: index as i64, ordinal: 0 };
        let deltas = (self.read..log.0.len()).map(|index| PulledChunk {
            id: self.id.clone(),
            position: at(index + 1),
            bytes: log.0[index].clone(),
            part: None,
            author: None,
        });
        let page = Page {
            collection: COLLECTION,
            from: at(self.read),
            rows: deltas.collect(),
            to: at(log.0.len()),
            has_more: false,
            epoch: "log".into(),
            pruned: None,
        };
        self.read = log.0.len();
        self.handle(Event::Backend(FromBackend::Page(page)));
    }

    /// Applies the delivered versions to the entity.
    pub fn apply(&mut self) {
        for delta in std::mem::take(&mut self.delivered) {
            if delta.seen < self.captures {
                continue;
            }
            let from = std::mem::replace(&mut self.generation, delta.generation);
            match delta.value.map(|value| self.version.read(&value)) {
                None => self.shown = None,
                Some(Ok(component)) => self.shown = Some(component),
                Some(Err(_)) if self.shown.is_some() => {
                    let kept = Kept { document: self.key(), generation: delta.generation, from, components: 1 };
                    self.handle(Event::Kept(kept));
                }
                Some(Err(_)) => {}
            }
            let applied = vec![(self.key(), delta.generation)];
            self.handle(Event::Applied(applied));
        }
    }
}
