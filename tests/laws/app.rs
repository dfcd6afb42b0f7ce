//! An app without a world: a replica that the test drives, and the value that the entity shows.

use std::sync::Arc;

use automerge::{AutoCommit, ChangeHash};
use bevy_convex_replicate::{
    CollectionIndex, DocumentId, DocumentKey,
    format::{self, Value},
    replica::{
        Change, Checkpoint, CollectionSchema, Delta, Edit, Effect, Event, Kept, Page, Position, PulledChunk, Push,
        PushAnswer, Put, RemoteState, Replica, Schema, View,
    },
    store::{RemoteId, Write},
};

use crate::{
    shape::Shape,
    value::{Typed, as_shape},
};

const COLLECTION: CollectionIndex = CollectionIndex(0);
const NOW: i64 = 1_700_000_000_000;

/// The shared log of a backend.
#[derive(Default)]
pub struct Log(Vec<(DocumentId, Vec<u8>)>);

struct Version(Shape);

/// Reads a document as a type.
pub fn decode(shape: &Shape, document: &Value) -> Result<Typed, String> {
    as_shape(shape, || format::from_document::<Typed>(document)).map_err(|error| error.to_string())
}

/// Writes a value as its type does.
pub fn encode(typed: &Typed) -> Value {
    format::to_value(typed).expect("a value can be written")
}

impl Schema for Version {
    fn view(&self, document: &Value, mask: u32) -> View {
        match decode(&self.0, document) {
            Ok(typed) if mask & 1 != 0 => View { value: encode(&typed), misfits: 0 },
            fit => View { value: Value::Map(Default::default()), misfits: u32::from(fit.is_err()) & mask },
        }
    }
}

pub struct App {
    replica: Replica,
    pub shape: Shape,
    pub id: DocumentId,
    /// The content of the app's store as a document.
    pub document: AutoCommit,
    chunks: Vec<Arc<[u8]>>,
    /// The value that the entity shows.
    pub shown: Option<Typed>,
    generation: u64,
    captures: u64,
    pushes: Vec<Push>,
    delivered: Vec<Delta>,
    read: usize,
    pub failures: Vec<String>,
    /// The number of changes that the app made.
    pub made: usize,
}

impl App {
    pub fn new(number: u8, shape: &Shape, id: &DocumentId) -> Self {
        let schema = Arc::new(Version(shape.clone()));
        let collections = vec![CollectionSchema { name: "things".into(), schema }];
        let mut app = Self {
            replica: Replica::new([number; 16], collections, true),
            shape: shape.clone(),
            id: id.clone(),
            document: AutoCommit::new(),
            chunks: Vec::new(),
            shown: None,
            generation: 0,
            captures: 0,
            pushes: Vec::new(),
            delivered: Vec::new(),
            read: 0,
            failures: Vec::new(),
            made: 0,
        };
        app.handle(Event::Opened { collection: COLLECTION, documents: Vec::new() });
        app.handle(Event::Remote {
            epoch: None,
            state: RemoteState { unsent: vec![Vec::new()], ..Default::default() },
        });
        app.handle(Event::Connected);
        app.pull(&Log::default());
        app
    }

    fn handle(&mut self, event: Event) {
        self.replica.handle(event, NOW);
        while let Some(effect) = self.replica.poll() {
            if let Some(event) = self.carry_out(effect) {
                self.replica.handle(event, NOW);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Deliver(delta) => self.delivered.push(delta),
            Effect::Failed { message, .. } => self.failures.push(message),
            Effect::Push(push) => self.pushes.push(push),
            Effect::Write(id, write) => {
                if let Write::Document(write) = write {
                    for chunk in write.chunks {
                        self.made += usize::from(chunk.remote.is_none());
                        self.document.load_incremental(&chunk.bytes).expect("a change fits its document");
                        self.chunks.push(chunk.bytes);
                    }
                }
                return Some(Event::Written(id));
            }
            Effect::Load(document) => return Some(Event::Loaded { document, chunks: self.chunks.clone() }),
            Effect::Identify { epoch } => {
                let state = RemoteState {
                    remote: Some(RemoteId(1)),
                    checkpoints: vec![Checkpoint::default()],
                    unsent: vec![Vec::new()],
                    unread: vec![false],
                };
                return Some(Event::Remote { epoch: Some(epoch), state });
            }
            _ => {}
        }
        None
    }

    fn key(&self) -> DocumentKey {
        DocumentKey { collection: COLLECTION, id: self.id.clone() }
    }

    /// Sets the entity's component to this value and captures it.
    pub fn put(&mut self, typed: Typed) {
        self.captures += 1;
        let put = if self.captures == 1 && self.generation == 0 { Put::Spawned } else { Put::Edited };
        let change = Change::Put { value: encode(&typed), mask: 1, put };
        self.shown = Some(typed);
        let (document, generation, capture) = (self.key(), self.generation, self.captures);
        self.handle(Event::Edit(Edit { number: capture, document, generation, capture, change }));
    }

    /// Sends everything that is unsent.
    pub fn push(&mut self, log: &mut Log) {
        while let Some(push) = (!self.pushes.is_empty()).then(|| self.pushes.remove(0)) {
            let mut results = Vec::new();
            for document in push.documents {
                log.0.extend(document.changes.iter().map(|(_, bytes)| (document.id.clone(), bytes.to_vec())));
                results.push((document.id, Ok(())));
            }
            let epoch = "log".into();
            self.handle(Event::Answered(PushAnswer { number: push.number, collection: COLLECTION, epoch, results }));
        }
    }

    /// Reads the new part of the log.
    pub fn pull(&mut self, log: &Log) {
        let at = |index: usize| Position { ts: index as i64, ordinal: 0 };
        let deltas = (self.read..log.0.len()).map(|index| {
            let (id, bytes) = log.0[index].clone();
            PulledChunk { id, position: at(index + 1), bytes, part: None }
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
            let (before, document) = (self.generation, self.key());
            self.generation = delta.generation;
            let Some(value) = delta.value else { continue };
            match decode(&self.shape, &value) {
                Ok(typed) => self.shown = Some(typed),
                Err(_) => self.keep(before),
            }
            self.handle(Event::Applied(vec![(document, delta.generation)]));
        }
    }

    /// The version does not fit, so the entity keeps the value that it shows.
    fn keep(&mut self, from: u64) {
        if self.shown.is_some() {
            let (document, generation) = (self.key(), self.generation);
            self.handle(Event::Kept(Kept { document, generation, from, components: 1 }));
        }
    }

    pub fn heads(&mut self) -> Vec<ChangeHash> {
        self.document.get_heads()
    }

    pub fn value(&mut self) -> Value {
        format::read(&self.document)
    }
}
