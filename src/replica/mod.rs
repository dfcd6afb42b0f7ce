//! Documents, merging, unsent changes and checkpoints. Sans-IO: no clock, disk, socket, thread or Bevy.
//!
//! # The loop
//!
//! One owner drives a [`Replica`]. For each input, the owner calls [`Replica::handle`] with an [`Event`] and the time.
//! Then it calls [`Replica::poll`] until that returns `None`, and carries out each [`Effect`] in the order given. The
//! result of an effect comes back as another event. The same events always give the same effects.
//!
//! ```text
//!             Edit, Applied, Show            Load, Write                 Subscribe, Push
//!   world  ------------------------>  replica  ------------->  store     ------------------>  transport
//!          <------------------------           <-------------            <------------------
//!             Deliver, Failed               Opened, Loaded, Written     Connected, Page, Answered
//! ```
//!
//! # Versions
//!
//! Every [`Delta`] given to the world carries a generation `g` and `seen`, the last edit of the world that it includes.
//! The world sends each edit with the `g` it had and the edit's count. For each document the replica keeps `base[g]`,
//! the heads at which it makes the world's next edit: at first the delta's heads, and after each edit the heads right
//! after that edit. So a remote change that has arrived but is not yet in the world is merged and never reverted, and
//! successive edits need no round trip.
//!
//! # When changes are sent
//!
//! The replica writes and sends a change at the same time, and neither waits for the other. If the program ends after
//! one and before the other, nothing is lost: the next run offers the change from the store, or pulls it from the
//! backend like a change of any other client. That is safe because actors are new in each run. So no later change gets
//! the (actor, sequence number) of a change that never reached this disk.

mod alias;
mod defaults;
mod event;
mod live;
mod loading;
mod opened;
mod outbox;
mod pull;
mod push;
mod refused;
mod remote;
#[cfg(test)]
mod tests;
mod world;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use automerge::ActorId;

pub use event::*;
pub(crate) use live::changes_of;
use live::{Bases, Live};
use loading::LiveDocuments;
use outbox::{Outbox, QueuedChange};
use pull::Pull;
use refused::Refusals;
use remote::{Remote, Stage, WaitingPage};

use crate::{
    CollectionIndex, DocumentId, DocumentKey,
    chunk::{change_hash, chunk_hash},
    failure::FailureKind,
    record::Write,
};

/// A collection's name and types.
pub struct CollectionSchema {
    /// The collection's name in the store and on the wire.
    pub name: String,
    /// Its types.
    pub schema: Arc<dyn Schema>,
}

/// Documents of several collections, merged with the changes of all other clients. See the [module](self).
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
    /// Documents to discard when the store has told what it knows of the backend.
    discards: Vec<DocumentKey>,
}

struct Collection {
    name: String,
    schema: Arc<dyn Schema>,
    documents: HashMap<DocumentId, Document>,
    outbox: Outbox,
    pull: Pull,
    /// A push of this collection was refused as a whole. The next push waits for a new connection or for
    /// [`Event::Retry`].
    paused: bool,
    /// Whether the store marks chunks of the collection as held by the backend.
    believed: bool,
    /// How far the log was pruned when it was last read from its beginning, also if that was in an earlier run.
    pruned: Option<i64>,
    /// The last edit of the world for each document that is not here, because it never existed or was forgotten. There
    /// are few such documents.
    seen: HashMap<DocumentId, EditSeq>,
    /// The documents that a remote refuses.
    refused: Refusals,
    /// The documents that are read again because their unsent changes were discarded. Pages wait for them.
    discarding: HashSet<DocumentId>,
    /// The generation with which the world learns that a discarded document is gone.
    gone: HashMap<DocumentId, Generation>,
}

#[derive(Default)]
struct Document {
    generation: Generation,
    seen: EditSeq,
    state: State,
    /// The versions that the world has of the document, while it is read again.
    bases: Option<Bases>,
}

#[derive(Default)]
enum State {
    #[default]
    Cold,
    /// The chunks of the document are being read, and these inputs wait for them.
    Loading(Vec<Waiting>),
    Live(Box<Live>),
}

enum Waiting {
    Edit(EditNumber, Edit),
    Show,
    Discard,
}

impl Replica {
    /// Makes a replica of these collections. `actor` must be new for each run of a program, because another change must
    /// not take the place of a change that was sent but never reached the disk. `synchronized` tells whether there is a
    /// backend.
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
                refused: Refusals::default(),
                discarding: HashSet::new(),
                gone: HashMap::new(),
            })
            .collect();
        Self {
            actor: ActorId::from(actor),
            collections,
            effects: VecDeque::new(),
            pages: VecDeque::new(),
            live: LiveDocuments::default(),
            loading: 0,
            remote: Remote::new(synchronized),
            last_write: 0,
            written: 0,
            clock: 0,
            due: None,
            discards: Vec::new(),
        }
    }

    /// Handles an event. `now` is in milliseconds since 1970.
    pub fn handle(&mut self, event: Event, now: i64) {
        match event {
            Event::Opened { collection, documents } => self.opened(collection, documents),
            Event::Refused { collection, documents } => self.refusals_read(collection, documents),
            Event::Edit(number, edit) => self.edit(number, edit, now),
            Event::Unwritable { document, seq } => self.saw(&document, seq),
            Event::Applied(shown) => self.applied(shown),
            Event::Kept(kept) => self.kept(kept),
            Event::Show(document) => self.show(document),
            Event::Loaded { document, chunks } => self.loaded(document, Ok(chunks), now),
            Event::Unreadable { document, problem } => self.loaded(document, Err(problem), now),
            Event::Remote { epoch, state } => self.remote_known(epoch, state),
            Event::Written(write) => self.written = self.written.max(write),
            Event::Lost(document) => self.keep(&document),
            Event::Unsent { collection, documents, read } => self.unsent_read(collection, documents, read),
            Event::Connected => self.connected(),
            Event::Disconnected => self.disconnected(),
            Event::Backend(FromBackend::Page(page)) => self.page(page),
            Event::Backend(FromBackend::PullRefused { collection, refusal }) => self.pull_refused(collection, refusal),
            Event::Backend(FromBackend::Answered(answer)) => self.answered(answer, now),
            Event::Backend(FromBackend::PushRefused { number, collection, refusal }) => {
                self.push_refused(number, collection, refusal)
            }
            Event::Backend(FromBackend::PushDropped { number, .. }) => self.push_dropped(number),
            Event::Retry => self.retry(),
            Event::RetryOne(document) => self.retry_one(&document),
            Event::Discard(document) => self.discard(document),
            Event::ReadAgain(collection) => self.read_again(collection),
            Event::Due => {}
        }
        self.process_pages();
        self.offer_edited(now);
        self.push_more();
        self.cool();
    }

    /// The next effect to carry out, in order.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The time at which [`Event::Due`] must come, in milliseconds since 1970; `None` if nothing waits for a time.
    pub fn due(&self) -> Option<i64> {
        self.due
    }

    /// Documents with changes that the backend lacks.
    pub fn unsent(&self) -> usize {
        if self.remote.has_deployment() {
            self.collections.iter().map(|collection| collection.outbox.len()).sum()
        } else {
            0
        }
    }

    /// Documents here, tombstones included.
    pub fn documents(&self) -> usize {
        self.collections.iter().map(|collection| collection.documents.len()).sum()
    }

    /// Whether the backend is being given changes of this document and has not taken the last ones yet.
    pub fn is_pressed(&self, document: &DocumentKey) -> bool {
        let collection = self.collections.get(document.collection.0 as usize);
        matches!(self.remote.stage, Stage::Identified)
            && collection.is_some_and(|collection| !collection.paused && collection.outbox.is_pressed(&document.id))
    }

    /// Whether an edit or a page waits for a document to be loaded.
    pub fn is_loading(&self) -> bool {
        self.loading > 0 || !self.pages.is_empty()
    }

    /// Whether pages wait until the store has identified their log.
    pub fn is_identifying(&self) -> bool {
        matches!(self.remote.stage, Stage::Identifying { .. })
    }

    fn write(&mut self, write: Write) {
        self.last_write += 1;
        self.effects.push_back(Effect::Store(StoreRequest::Write(self.last_write, write)));
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
