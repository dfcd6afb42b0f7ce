//! Which documents are in memory: they are read from the store when they are needed, and dropped when they were not
//! used for long.

use std::{collections::VecDeque, sync::Arc};

use hashlink::LruCache;

use super::{Document, Effect, Live, Replica, State, StoreRequest, Waiting};
use crate::{DocumentKey, chunk::inspect, failure::FailureKind, limits};

/// Loaded documents kept in memory: at 18 KiB for a small one, about 36 MiB. Colder ones are read again when edited.
const LIVE_DOCUMENTS: usize = 2_048;

/// How many of these may have been used only once. Thousands of documents that are made or arrive at once are rarely
/// used again; dropping them early reuses memory while it is in the cache.
const FRESH_DOCUMENTS: usize = 256;
/// Documents examined in one step when too many are loaded: more than one step can add, and few enough to take no time.
const COOLED_AT_ONCE: usize = 64;

/// The order in which loaded documents were used.
pub(super) struct LiveDocuments {
    pub(super) count: usize,
    /// First uses.
    fresh: VecDeque<(u64, DocumentKey)>,
    /// The last use of each document that was used more than once.
    uses: LruCache<DocumentKey, u64>,
}

impl Default for LiveDocuments {
    fn default() -> Self {
        // `Replica::cool` bounds it.
        Self { count: 0, fresh: VecDeque::new(), uses: LruCache::new_unbounded() }
    }
}

impl Replica {
    pub(super) fn document(&mut self, key: &DocumentKey) -> Option<&mut Document> {
        self.collections.get_mut(key.collection.0 as usize)?.documents.get_mut(&key.id)
    }

    pub(super) fn load(&mut self, key: &DocumentKey, waiting: Option<Waiting>) {
        self.load_by(StoreRequest::Load(key.clone()), key, waiting);
    }

    /// Reads a document of which the store has just been told to drop changes.
    pub(super) fn load_discarded(&mut self, key: &DocumentKey) {
        self.load_by(StoreRequest::LoadDiscarded(key.clone()), key, None);
    }

    fn load_by(&mut self, request: StoreRequest, key: &DocumentKey, waiting: Option<Waiting>) {
        if let Some(document) = self.document(key) {
            document.state = State::Loading(waiting.into_iter().collect());
            self.loading += 1;
            // Pages that wait already must wait for this document too.
            for page in self.pages.iter_mut().filter(|page| page.collection == key.collection) {
                page.wait_for(&key.id);
            }
            self.effects.push_back(Effect::Store(request));
        }
    }

    /// Keeps a document in memory: the store does not have all of it.
    pub(super) fn keep(&mut self, key: &DocumentKey) {
        if let Some(State::Live(live)) = self.document(key).map(|document| &mut document.state) {
            live.is_kept = true;
        }
    }

    /// Drops a loaded document, which may be half changed, and reads it again from the store.
    ///
    /// Writes and loads reach the store in order, so the store has all changes made so far.
    pub(super) fn reload(&mut self, key: &DocumentKey) {
        let Some(document) = self.document(key) else { return };
        if let State::Live(live) = std::mem::take(&mut document.state) {
            document.bases = Some(live.into_bases());
            self.live.count -= 1;
        }
        self.load(key, None);
    }

    /// Takes in a document's chunks, or the reason why the store cannot read them.
    pub(super) fn loaded(&mut self, key: DocumentKey, chunks: Result<Vec<Arc<[u8]>>, String>, now: i64) {
        let actor = self.actor.clone();
        let Some(collection) = self.collections.get_mut(key.collection.0 as usize) else { return };
        let Some(document) = collection.documents.get_mut(&key.id) else { return };
        let State::Loading(waiting) = std::mem::take(&mut document.state) else { return };
        let generation = document.generation;
        let bases = document.bases.take();
        let loaded = chunks.and_then(|chunks| {
            let loaded = inspect::guarded("load", || Live::load(&actor, &chunks, generation));
            loaded.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
        });
        let loaded = loaded.map(|live| {
            let live = match bases {
                Some(bases) => live.with_bases(bases),
                None => live,
            };
            document.state = State::Live(Box::new(live));
        });
        let is_discarded = collection.discarding.remove(&key.id);
        self.loading -= 1;
        for page in self.pages.iter_mut().filter(|page| page.collection == key.collection) {
            page.loading.remove(&key.id);
        }
        if let Err(problem) = loaded {
            self.unreadable(key, waiting, &problem);
            return;
        }
        self.live.count += 1;
        self.touch(&key);
        if is_discarded {
            self.discarded(&key);
        }
        for waiting in waiting {
            match waiting {
                // An edit that fails has the document read again. The edits after it wait for that.
                Waiting::Edit(number, edit) => self.edit(number, edit, now),
                Waiting::Show => self.show(key.clone()),
                Waiting::Discard => self.discard(key.clone()),
            }
        }
    }

    /// The stored chunks stay as they are. The edits that waited for the document are reported as lost.
    pub(super) fn unreadable(&mut self, key: DocumentKey, waiting: Vec<Waiting>, why: &str) {
        let mut edits = 0;
        for waiting in waiting {
            if let Waiting::Edit(number, edit) = waiting {
                edits += 1;
                self.effects.push_back(Effect::Edited(number, 0));
                self.effects.push_back(Effect::nothing_of(&key, edit.seq));
            }
        }
        let message = format!(
            "its stored changes cannot be read ({why}), and {edits} edits of it were not taken in. SyncControl::rebuild_store, and \
             starting again, gets the document back from the deployment"
        );
        self.fail(FailureKind::Damaged, Some(key.collection), Some(key.id), message);
    }

    pub(super) fn touch(&mut self, key: &DocumentKey) {
        let Some(collection) = self.collections.get_mut(key.collection.0 as usize) else { return };
        if let Some(State::Live(live)) = collection.documents.get_mut(&key.id).map(|document| &mut document.state) {
            self.live.touch(key, live, &mut self.clock);
        }
    }

    /// Drops the documents used longest ago from memory.
    pub(super) fn cool(&mut self) {
        if !self.pages.is_empty() {
            return;
        }
        for _ in 0..COOLED_AT_ONCE {
            let (used, key, is_fresh) = match self.live.next_to_cool() {
                Some(next) => next,
                None => break,
            };
            let written = self.written;
            let Some(document) = self.document(&key) else { continue };
            let State::Live(live) = &mut document.state else { continue };
            if live.last_used != used {
                continue;
            }
            if live.is_idle(written) {
                document.state = State::Cold;
                self.live.count -= 1;
            } else if is_fresh {
                self.live.fresh.push_back((used, key));
            } else {
                self.live.uses.insert(key, used);
            }
        }
    }
}

impl LiveDocuments {
    /// The oldest use if too many documents are loaded, and whether it was the document's first use.
    fn next_to_cool(&mut self) -> Option<(u64, DocumentKey, bool)> {
        if self.fresh.len() > limits::or_tiny(FRESH_DOCUMENTS, 2) {
            let (used, key) = self.fresh.pop_front()?;
            return Some((used, key, true));
        }
        if self.count > limits::or_tiny(LIVE_DOCUMENTS, 3) {
            let (key, used) = self.uses.remove_lru()?;
            return Some((used, key, false));
        }
        None
    }

    pub(super) fn touch(&mut self, key: &DocumentKey, live: &mut Live, clock: &mut u64) {
        *clock += 1;
        if live.last_used == 0 {
            self.fresh.push_back((*clock, key.clone()));
        } else {
            self.uses.insert(key.clone(), *clock);
        }
        live.last_used = *clock;
    }
}
