//! Documents, merging, what is unsent, checkpoints. Sans-IO: no clock, disk, socket, thread or Bevy.
//!
//! # The loop
//!
//! A [`Replica`] is driven by one owner. Something happened: [`Replica::handle`] takes an [`Event`] and the time. Then
//! [`Replica::poll`] is called until it returns `None`; each [`Effect`] is carried out in the order given. Whatever an
//! effect leads to comes back as another event. The same events give the same effects, always.
//!
//! ```text
//!             Edit, Applied, Show            Load, Write                 Subscribe, Push
//!   world  ------------------------>  replica  ------------->  store     ------------------>  transport
//!          <------------------------           <-------------            <------------------
//!             Deliver, Failed                Opened, Loaded, Stored      Connected, Page, Answered, Dropped
//! ```
//!
//! # Versions
//!
//! Every [`Delta`] given to the world carries a generation `g` and `seen`, the last capture of the world it includes. The world answers
//! each edit with the `g` it had and a capture count. Per document the replica keeps `base[g]`, the heads at which the
//! world's next edit is to be made: at first the delta's, and after each edit the heads right after that edit. So a remote change that
//! has arrived but is not yet in the world is merged, never reverted, and successive captures need no round trip.
//!
//! # What is sent when
//!
//! A change is written and sent at the same time: neither waits for the other. If the program ends after one and before the other, nothing
//! is lost: the change is offered from the store, or pulled from the backend as anyone else's. That is safe because actors are new in each run, so
//! that a change which never reached this disk does not have its (actor, sequence number) used again.

mod alias;
mod event;
mod live;
mod loading;
mod opened;
mod outbox;
mod pull;
mod push;
mod remote;
#[cfg(test)]
mod tests;
mod world;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use automerge::ActorId;

pub use event::*;
pub(crate) use live::changes_of;
use live::{Bases, Live};
use loading::LiveDocuments;
use outbox::{Outbox, OutgoingChange};
use pull::Pull;
use remote::{Remote, WaitingPage};

use crate::{
    CollectionIndex, DocumentId,
    chunk::{change_hash, chunk_hash},
    failure::FailureKind,
    record::Write,
};

/// A collection's name and types.
pub struct CollectionSchema {
    /// Its name in the store and on the wire.
    pub name: String,
    /// Its types.
    pub schema: Arc<dyn Schema>,
}

/// Documents of several collections, merged with everyone else's. See the [module](self).
pub struct Replica {
    actor: ActorId,
    collections: Vec<Collection>,
    effects: VecDeque<Effect>,
    pages: VecDeque<WaitingPage>,
    live: LiveDocuments,
    /// Documents that are being read from the store.
    loading: usize,
    remote: Remote,
    last_write: WriteId,
    written: WriteId,
    clock: u64,
    /// See [`due`](Self::due).
    due: Option<i64>,
}

struct Collection {
    name: String,
    schema: Arc<dyn Schema>,
    documents: HashMap<DocumentId, Document>,
    outbox: Outbox,
    pull: Pull,
    /// A push of this collection was refused as a whole: it waits for a new connection or [`Event::Retry`].
    paused: bool,
    /// Whether the backend is believed to have something of it.
    believed: bool,
    /// How far the log was pruned when it was last read from its beginning, also if that was in an earlier run.
    pruned: Option<i64>,
    /// What was seen of the world's edits of documents that are not here: edits of what never was, or was forgotten. There are few.
    seen: HashMap<DocumentId, Capture>,
}

#[derive(Default)]
struct Document {
    generation: Generation,
    seen: Capture,
    state: State,
    /// Of a document that is being read again: the versions the world has of it.
    bases: Option<Bases>,
}

#[derive(Default)]
enum State {
    #[default]
    Cold,
    /// Its chunks are being read; this waits for them.
    Loading(Vec<Waiting>),
    Live(Box<Live>),
}

enum Waiting {
    Edit(Edit),
    Show,
}

impl Replica {
    /// A replica of these collections. `actor` must be new for each run of a program: a change that was sent but never reached the disk must
    /// not have its place taken by another. `synchronized`: whether there is a backend at all.
    pub fn new(actor: [u8; 16], collections: Vec<CollectionSchema>, synchronized: bool) -> Self {
        let collections = collections
            .into_iter()
            .map(|collection| Collection {
                name: collection.name,
                schema: collection.schema,
                documents: HashMap::new(),
                outbox: Outbox::default(),
                pull: Pull::default(),
                paused: false,
                believed: false,
                pruned: None,
                seen: HashMap::new(),
            })
            .collect();
        Self {
            actor: ActorId::from(actor),
            collections,
            effects: VecDeque::new(),
            pages: VecDeque::new(),
            live: LiveDocuments::default(),
            loading: 0,
            remote: Remote { wanted: synchronized, ..Remote::default() },
            last_write: 0,
            written: 0,
            clock: 0,
            due: None,
        }
    }

    /// Takes in what happened. `now` is in milliseconds since 1970.
    pub fn handle(&mut self, event: Event, now: i64) {
        match event {
            Event::Opened { collection, documents } => self.opened(collection, documents),
            Event::Edit(edit) => self.edit(edit, now),
            Event::Unwritable { document, capture } => self.saw(&document, capture),
            Event::Applied(shown) => self.applied(shown),
            Event::Kept(kept) => self.kept(kept),
            Event::Show(document) => self.show(document),
            Event::Loaded { document, chunks } => self.loaded(document, chunks, now),
            Event::Remote { epoch, state } => self.remote_known(epoch, state),
            Event::Written(write) => self.written = self.written.max(write),
            Event::Lost(document) => self.keep(&document),
            Event::Unsent { collection, documents, read } => {
                if let Some(collection) = self.collections.get_mut(collection.0 as usize) {
                    documents.into_iter().for_each(|document| collection.outbox.read(document, read));
                }
            }
            Event::Connected => self.connected(),
            Event::Disconnected => self.disconnected(),
            Event::Page(page) => self.page(page),
            Event::PullRefused { collection, refusal } => self.pull_refused(collection, refusal),
            Event::Answered(answer) => self.answered(answer, now),
            Event::PushRefused { number, collection, refusal } => self.push_refused(number, collection, refusal),
            Event::PushDropped(number) => self.push_dropped(number),
            Event::Retry => self.retry(),
            Event::Due => {}
        }
        self.process_pages();
        self.offer_edited(now);
        self.push_more();
        self.cool();
    }

    /// What is to be done next, in order.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When there is something to do that waits for nothing but the time, in milliseconds since 1970: [`Event::Due`] is
    /// wanted then.
    pub fn due(&self) -> Option<i64> {
        self.due
    }

    /// Documents with changes that the backend lacks.
    pub fn unsent(&self) -> usize {
        if self.remote.wanted { self.collections.iter().map(|collection| collection.outbox.len()).sum() } else { 0 }
    }

    /// Documents here, tombstones included.
    pub fn documents(&self) -> usize {
        self.collections.iter().map(|collection| collection.documents.len()).sum()
    }

    /// Whether something waits for the store to be read.
    pub fn is_loading(&self) -> bool {
        self.loading > 0 || !self.pages.is_empty()
    }

    /// Whether pages wait until the store has told which log they are of.
    pub fn is_identifying(&self) -> bool {
        self.remote.identifying
    }

    fn write(&mut self, write: Write) {
        self.last_write += 1;
        self.effects.push_back(Effect::Write(self.last_write, write));
    }

    fn fail(
        &mut self,
        kind: FailureKind,
        collection: Option<CollectionIndex>,
        document: Option<DocumentId>,
        message: String,
    ) {
        self.effects.push_back(Effect::Failed { kind, collection, document, message });
    }
}
