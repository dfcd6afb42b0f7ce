//! Reading: subscriptions, and what is new in their results.

use std::time::Instant;

use super::{State, Task};
use crate::{
    CollectionIndex,
    limits::PAGE_BYTES,
    record::{Refusal, RefusalCode},
    transport::{
        Notice,
        follow::{Follow, Key, OPEN_BYTES, Outcome},
        reconnect::{End, Source, Verdict},
        wire::{self, Function, FunctionName, PageView},
    },
};

impl Task {
    /// Opens the subscriptions that are wanted, as far as their results fit in memory and in a frame.
    pub(super) fn open(&mut self) {
        let State::Connected(connection) = &mut self.state else { return };
        let mut reserved: usize = self.follows.values().map(Follow::reserved).sum();
        for (collection, follow) in &mut self.follows {
            let others = reserved - follow.reserved();
            if !follow.wants_to_open() || (others > 0 && others + PAGE_BYTES > OPEN_BYTES) {
                continue;
            }
            reserved = others + PAGE_BYTES;
            let (key, checkpoint, old) = follow.open();
            if let Some(old) = old {
                connection.close(*collection, old);
            }
            let function = pull_function(&self.config.collections, *collection);
            connection.subscribe(
                *collection,
                key,
                function.to_string(),
                wire::pull_arguments(checkpoint, follow.pruned()),
            );
        }
    }

    pub(super) fn close(&mut self, collection: CollectionIndex, key: Option<Key>) {
        if let (Some(key), State::Connected(connection)) = (key, &mut self.state) {
            connection.close(collection, key);
        }
    }

    /// Takes what is new in the newest results.
    pub(super) fn read(&mut self) {
        self.held = false;
        let State::Connected(connection) = &mut self.state else { return };
        let counts = connection.take_counts();
        if !counts.is_empty() {
            self.reconnect.heard();
        }
        for (collection, documents) in counts {
            self.tell(Notice::Count { collection, documents });
        }
        let open: Vec<_> =
            self.follows.iter().filter_map(|(collection, follow)| Some((*collection, follow.key()?))).collect();
        let now = Instant::now();
        for (collection, key) in open {
            let room = self.has_room();
            let State::Connected(connection) = &self.state else { return };
            let Some(result) = connection.result(collection, key) else { continue };
            let Some(follow) = self.follows.get_mut(&collection) else { continue };
            let function = pull_function(&self.config.collections, collection);
            let page = wire::outcome(result, function).and_then(PageView::of);
            let outcome = follow.answer(key, page, room, now);
            self.act(collection, outcome);
        }
        self.open();
    }

    pub(super) fn act(&mut self, collection: CollectionIndex, outcome: Outcome) {
        self.held |= outcome.held;
        if let Some(page) = outcome.page {
            self.reconnect.worked(Source::Pull(collection));
            self.tell(Notice::Page(page));
        }
        let Some(refusal) = outcome.refusal else { return };
        if refusal.code != RefusalCode::Unauthenticated {
            self.reconnect.proved();
            self.tell(Notice::PullRefused { collection, refusal });
        } else if let Some(refusal) = self.unauthenticated(Source::Pull(collection), refusal) {
            self.tell(Notice::PullRefused { collection, refusal });
        }
    }

    /// Ends the connection, or gives the refusal back because other things work.
    pub(super) fn unauthenticated(&mut self, source: Source, refusal: Refusal) -> Option<Refusal> {
        let alone = self.follows.values().all(Follow::is_unauthenticated);
        let why = refusal.message.clone();
        match self.reconnect.unauthenticated(source, alone) {
            Verdict::Refresh => self.ended(End::Stale(why)),
            Verdict::GiveUp if self.config.auth.is_none() => {
                self.ended(End::Unauthenticated(format!("{why} (this app has no token callback)")));
            }
            Verdict::GiveUp => self.ended(End::Unauthenticated(why)),
            Verdict::Report => return Some(refusal),
        }
        None
    }
}

fn pull_function(collections: &[String], collection: CollectionIndex) -> Function<'_> {
    let module = collections.get(usize::from(collection.0)).map_or("", String::as_str);
    Function { module, name: FunctionName::PullDeltas }
}
