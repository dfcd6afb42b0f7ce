//! Which documents are in memory: they are read from the store when they are needed and let go when cold.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use super::{Document, Effect, Live, Replica, State, Waiting};
use crate::{DocumentKey, limits, worker::FailureKind};

/// Loaded documents kept in memory: at 18 KiB for a small one, about 36 MiB. Colder ones are read again when edited.
const LIVE_DOCUMENTS: usize = 2_048;

/// The order in which loaded documents were used.
#[derive(Default)]
pub(super) struct LiveDocuments {
    pub(super) count: usize,
    uses: VecDeque<(u64, DocumentKey)>,
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

    pub(super) fn loaded(&mut self, key: DocumentKey, chunks: Vec<Arc<[u8]>>, now: i64) {
        let actor = self.actor.clone();
        let Some(document) = self.document(&key) else { return };
        let State::Loading(waiting) = std::mem::take(&mut document.state) else { return };
        let mut damaged = None;
        match Live::load(&actor, &chunks, document.generation) {
            Ok(live) => document.state = State::Live(Box::new(live)),
            Err(error) => damaged = Some(error),
        }
        self.loading -= 1;
        for page in self.pages.iter_mut().filter(|page| page.collection == key.collection) {
            page.loading.remove(&key.id);
        }
        if let Some(error) = damaged {
            self.unreadable(key, waiting, &error.to_string());
            return;
        }
        self.live.count += 1;
        self.touch(&key);
        for waiting in waiting {
            match waiting {
                Waiting::Edit(edit) => self.edit_live(edit, now),
                Waiting::Show => self.show_live(&key),
            }
        }
    }

    /// What is stored stays stored; what waited for it is told of.
    pub(super) fn unreadable(&mut self, key: DocumentKey, waiting: Vec<Waiting>, why: &str) {
        let edits = waiting.iter().filter(|waiting| matches!(waiting, Waiting::Edit(_))).count();
        self.effects.extend((0..edits).map(|_| Effect::Edited(0)));
        let message = format!(
            "its stored changes cannot be read ({why}), and {edits} edits of it were not taken in. Set the store's file aside \
             and start again to get the document back from the deployment"
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
        let most = limits::or_tiny(LIVE_DOCUMENTS, 2);
        if self.live.count <= most || !self.pages.is_empty() {
            return;
        }
        let written = self.written;
        for _ in 0..self.live.uses.len() {
            let Some((used, key)) = self.live.uses.pop_front() else { break };
            let Some(document) = self.document(&key) else { continue };
            let State::Live(live) = &mut document.state else { continue };
            if live.last_used != used {
                continue;
            }
            if live.is_idle(written) {
                document.state = State::Cold;
                self.live.count -= 1;
            } else {
                self.live.uses.push_back((used, key));
            }
            if self.live.count <= most * 3 / 4 {
                break;
            }
        }
    }
}

impl LiveDocuments {
    pub(super) fn touch(&mut self, key: &DocumentKey, live: &mut Live, clock: &mut u64) {
        *clock += 1;
        live.last_used = *clock;
        self.uses.push_back((*clock, key.clone()));
        // Each use leaves an entry behind and only the last counts: without this, one document edited forever would fill the memory.
        if self.uses.len() > 4 * LIVE_DOCUMENTS.max(self.count) {
            let mut last = HashMap::new();
            for (used, key) in self.uses.drain(..) {
                last.insert(key, used);
            }
            let ordered: BTreeMap<u64, DocumentKey> = last.into_iter().map(|(key, used)| (used, key)).collect();
            self.uses.extend(ordered);
        }
    }
}
