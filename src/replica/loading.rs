//! Which documents are in memory: they are read from the store when they are needed and let go when cold.

use std::{collections::VecDeque, sync::Arc};

use hashlink::LruCache;

use super::{Document, Effect, Live, Replica, State, Waiting};
use crate::{DocumentKey, chunk::inspect, failure::FailureKind, limits};

/// Loaded documents kept in memory: at 18 KiB for a small one, about 36 MiB. Colder ones are read again when edited.
const LIVE_DOCUMENTS: usize = 2_048;

/// Of those, documents that were used once and may never be again, as when thousands are made or arrive: kept for a short while only, so
/// that memory is used again while it is warm.
const FRESH_DOCUMENTS: usize = 256;
/// Documents looked at in one step when there are too many: more than one step can add, and little enough to go unnoticed.
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
        if let Some(document) = self.document(key) {
            document.state = State::Loading(waiting.into_iter().collect());
            self.loading += 1;
            self.effects.push_back(Effect::Load(key.clone()));
        }
    }

    /// Keeps a document in memory: the store does not have all of it.
    pub(super) fn keep(&mut self, key: &DocumentKey) {
        if let Some(State::Live(live)) = self.document(key).map(|document| &mut document.state) {
            live.is_kept = true;
        }
    }

    /// Throws a loaded document away, which may be half changed, and reads it again as the store has it.
    ///
    /// Writes and loads reach the store in order, so all that was made of it so far is there.
    pub(super) fn reload(&mut self, key: &DocumentKey) {
        let Some(document) = self.document(key) else { return };
        if let State::Live(live) = std::mem::take(&mut document.state) {
            document.bases = Some(live.into_bases());
            self.live.count -= 1;
        }
        self.load(key, None);
    }

    pub(super) fn loaded(&mut self, key: DocumentKey, chunks: Vec<Arc<[u8]>>, now: i64) {
        let actor = self.actor.clone();
        let Some(document) = self.document(&key) else { return };
        let State::Loading(waiting) = std::mem::take(&mut document.state) else { return };
        let mut damaged = None;
        let generation = document.generation;
        let bases = document.bases.take();
        match inspect::guarded("load", || Live::load(&actor, &chunks, generation)) {
            Ok(Ok(live)) => {
                let live = match bases {
                    Some(bases) => live.with_bases(bases),
                    None => live,
                };
                document.state = State::Live(Box::new(live));
            }
            Ok(Err(error)) => damaged = Some(error.to_string()),
            Err(error) => damaged = Some(error.to_string()),
        }
        self.loading -= 1;
        for page in self.pages.iter_mut().filter(|page| page.collection == key.collection) {
            page.loading.remove(&key.id);
        }
        if let Some(error) = damaged {
            self.unreadable(key, waiting, &error);
            return;
        }
        self.live.count += 1;
        self.touch(&key);
        for waiting in waiting {
            match waiting {
                // One that fails has the document read again: those after it wait for that.
                Waiting::Edit(edit) => self.edit(edit, now),
                Waiting::Show => self.show(key.clone()),
            }
        }
    }

    /// What is stored stays stored; what waited for it is told of.
    pub(super) fn unreadable(&mut self, key: DocumentKey, waiting: Vec<Waiting>, why: &str) {
        let mut edits = 0;
        for waiting in waiting {
            if let Waiting::Edit(edit) = waiting {
                edits += 1;
                self.effects.push_back(Effect::Edited(edit.number, 0));
                self.effects.push_back(Effect::nothing_of(&key, edit.capture));
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

    /// Lets go of the documents used longest ago.
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
    /// The use that lies longest back, if too many documents are loaded, and whether it was a first one.
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
