//! An app with one document and without a world: a replica that the test drives, and the value that the entity shows.

use std::{marker::PhantomData, sync::Arc};

use automerge::AutoCommit;
use bevy_convex_replicate::{
    CollectionIndex, DocumentId, DocumentKey,
    format::{self, Value},
    replica::{
        Change, CollectionSchema, Delta, Edit, Effect, Event, Kept, Page, Position, PulledChunk, Push, PushAnswer, Put,
        RemoteState, Replica, Schema, View,
    },
    store::Write,
};
use serde::{Serialize, de::DeserializeOwned};

const COLLECTION: CollectionIndex = CollectionIndex(0);
const NOW: i64 = 1_700_000_000_000;

/// A component type of one version of an app.
pub trait Component: Serialize + DeserializeOwned + Clone + 'static {}

impl<T: Serialize + DeserializeOwned + Clone + 'static> Component for T {}

/// The log of a backend, in order.
#[derive(Default)]
pub struct Log(Vec<Vec<u8>>);

struct Typed<T>(PhantomData<fn() -> T>);

impl<T: Component> Schema for Typed<T> {
    fn view(&self, document: &Value, mask: u32) -> View {
        let nothing = Value::Map(Default::default());
        match format::from_document::<T>(document).and_then(|component| format::to_value(&component)) {
            Ok(value) if mask & 1 != 0 => View { value, misfits: 0 },
            fit => View { value: nothing, misfits: u32::from(fit.is_err()) & mask },
        }
    }
}

pub struct App<T> {
    replica: Replica,
    id: DocumentId,
    /// The content of the app's store as a document.
    document: AutoCommit,
    chunks: Vec<Arc<[u8]>>,
    shown: Option<T>,
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

impl<T: Component> App<T> {
    pub fn new(number: u8, id: &str) -> Self {
        let schema = Arc::new(Typed::<T>(PhantomData));
        let collections = vec![CollectionSchema { name: "things".into(), schema }];
        let mut app = Self {
            replica: Replica::new([number; 16], collections, true),
            id: DocumentId::new(id),
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
                Effect::Push(push) => {
                    self.pushes.push(push);
                    None
                }
                Effect::Write(id, write) => {
                    if let Write::Document(write) = write {
                        for chunk in write.chunks {
                            self.stored += 1;
                            self.document.load_incremental(&chunk.bytes).unwrap();
                            self.chunks.push(chunk.bytes);
                        }
                    }
                    Some(Event::Written(id))
                }
                Effect::Load(document) => Some(Event::Loaded { document, chunks: self.chunks.clone() }),
                Effect::Identify { epoch } => Some(Event::Remote {
                    epoch: Some(epoch),
                    state: RemoteState { unsent: vec![Vec::new()], ..RemoteState::default() },
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

    fn put(&mut self, component: T, put: Put) {
        self.captures += 1;
        let change = Change::Put { value: format::to_value(&component).unwrap(), mask: 1, put };
        self.shown = Some(component);
        let (number, document, generation) = (self.captures, self.key(), self.generation);
        self.handle(Event::Edit(Edit { number, document, generation, capture: number, change }));
    }

    /// Spawns an entity with this component and the document's name.
    pub fn spawn(&mut self, component: T) {
        self.put(component, Put::Spawned);
    }

    /// Makes the document with this component if it does not exist.
    pub fn ensure(&mut self, component: T) {
        self.put(component, Put::Ensured);
    }

    /// Changes the component that the entity shows, as a system does.
    pub fn edit(&mut self, edit: impl FnOnce(&mut T)) {
        let mut component = self.shown().clone();
        edit(&mut component);
        self.put(component, Put::Edited);
    }

    /// The component that the entity shows.
    #[track_caller]
    pub fn shown(&self) -> &T {
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
            self.handle(Event::Answered(PushAnswer { number: push.number, collection: COLLECTION, epoch, results }));
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
        });
        let page = Page {
            collection: COLLECTION,
            from: at(self.read),
            deltas: deltas.collect(),
            checkpoint: at(log.0.len()),
            has_more: false,
            epoch: "log".into(),
            pruned: None,
        };
        self.read = log.0.len();
        self.handle(Event::Page(page));
    }

    /// Applies the delivered versions to the entity.
    pub fn apply(&mut self) {
        for delta in std::mem::take(&mut self.delivered) {
            if delta.seen < self.captures {
                continue;
            }
            let from = std::mem::replace(&mut self.generation, delta.generation);
            match delta.value.map(|value| format::from_document::<T>(&value)) {
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

/// Exchanges all changes between two apps: each app sends its own, and then reads and shows those of the other.
pub fn meet<A: Component, B: Component>(one: &mut App<A>, other: &mut App<B>, log: &mut Log) {
    one.push(log);
    other.push(log);
    one.pull(log);
    other.pull(log);
    one.apply();
    other.apply();
    assert_eq!(one.value(), other.value(), "both have the same document");
}

/// Two apps of one type that both show `start`.
pub fn pair<T: Component>(start: T) -> (App<T>, App<T>, Log) {
    versions(start)
}

/// Two apps, the second with another version of the type, that both show the document that the first app made.
pub fn versions<A: Component, B: Component>(start: A) -> (App<A>, App<B>, Log) {
    let (mut one, mut other, mut log) = (App::new(1, "thing"), App::new(2, "thing"), Log::default());
    one.spawn(start);
    meet(&mut one, &mut other, &mut log);
    (one, other, log)
}

/// Both apps edit `start` concurrently. Returns the value that both show afterwards.
#[track_caller]
pub fn at_once<T: Component + PartialEq + std::fmt::Debug>(
    start: T,
    left: impl FnOnce(&mut T),
    right: impl FnOnce(&mut T),
) -> T {
    let (mut one, mut other, mut log) = pair(start);
    one.edit(left);
    other.edit(right);
    meet(&mut one, &mut other, &mut log);
    assert_eq!(one.shown(), other.shown(), "both show the same");
    let fits = format::from_document::<T>(&one.value()).expect("the merged document fits");
    assert_eq!(*one.shown(), fits, "the entity shows the content of the document");
    one.shown().clone()
}
