//! Reading: subscriptions, and the new rows of their results.

use std::time::Duration;

use convex::FunctionResult;

use super::{Output, Session, Subscription};
use crate::{
    CollectionIndex,
    limits::PAGE_BYTES,
    record::{FromBackend, Refusal, RefusalCode},
    transport::{
        Notice,
        follow::{Follow, OPEN_BYTES, Outcome},
        reconnect::{End, Source, Verdict},
        wire::{self, Function, FunctionName, PageView},
    },
};

impl Session {
    /// Opens the subscriptions that are wanted, as far as their results fit in memory and in a frame.
    pub(super) fn subscribe(&mut self) {
        if !self.is_open() {
            return;
        }
        let mut reserved: usize = self.follows.values().map(Follow::reserved).sum();
        for (collection, follow) in &mut self.follows {
            let others = reserved - follow.reserved();
            if !follow.wants_to_open() || (others > 0 && others + PAGE_BYTES > OPEN_BYTES) {
                continue;
            }
            reserved = others + PAGE_BYTES;
            let (key, checkpoint, old) = follow.open();
            if let Some(old) = old {
                self.outputs.push_back(Output::Unsubscribe(Subscription::Log(*collection, old)));
            }
            self.outputs.push_back(Output::Subscribe {
                subscription: Subscription::Log(*collection, key),
                function: pull_function(&self.collections, *collection).to_string(),
                arguments: wire::pull_arguments(checkpoint, follow.pruned()),
            });
        }
    }

    /// Asks once per connection how many documents each collection has. A deployment that does not answer this works
    /// too.
    pub(super) fn count(&mut self) {
        for (collection, name) in (0..=u16::MAX).map(CollectionIndex).zip(&self.collections) {
            self.counts.insert(collection);
            self.outputs.push_back(Output::Subscribe {
                subscription: Subscription::Count(collection),
                function: Function { module: name, name: FunctionName::ChangeStream }.to_string(),
                arguments: wire::count_arguments(name),
            });
        }
    }

    /// Takes the new rows of the newest results.
    pub(super) fn read(&mut self, values: &[(Subscription, &FunctionResult)], now: Duration) {
        if !self.is_open() {
            return;
        }
        self.held = false;
        for (subscription, result) in values {
            if let Subscription::Count(collection) = subscription {
                self.counted(*collection, result);
            }
        }
        for (subscription, result) in values {
            let Subscription::Log(collection, key) = *subscription else { continue };
            let room = self.has_room();
            let Some(follow) = self.follows.get_mut(&collection) else { continue };
            let function = pull_function(&self.collections, collection);
            let page = wire::outcome(result, function).and_then(PageView::of);
            let outcome = follow.answer(key, page, room, now);
            self.act(collection, outcome, now);
            if !self.is_open() {
                return;
            }
        }
        self.subscribe();
    }

    fn counted(&mut self, collection: CollectionIndex, result: &FunctionResult) {
        if !self.counts.remove(&collection) {
            return;
        }
        self.outputs.push_back(Output::Unsubscribe(Subscription::Count(collection)));
        if let FunctionResult::Value(value) = result
            && let Some(documents) = wire::document_count(value)
        {
            self.reconnect.heard();
            self.notices.push_back(Notice::Count { collection, documents });
        }
    }

    /// Handles a subscription that cannot be opened because its function's name is refused.
    pub(super) fn subscription_refused(&mut self, subscription: Subscription, refusal: Refusal, now: Duration) {
        match subscription {
            Subscription::Count(collection) => drop(self.counts.remove(&collection)),
            Subscription::Log(collection, key) => {
                if let Some(follow) = self.follows.get_mut(&collection) {
                    let outcome = follow.answer(key, Err(refusal), true, now);
                    self.act(collection, outcome, now);
                }
            }
        }
    }

    fn act(&mut self, collection: CollectionIndex, outcome: Outcome, now: Duration) {
        self.held |= outcome.held;
        if let Some(page) = outcome.page {
            self.reconnect.worked(Source::Pull(collection));
            self.notices.push_back(Notice::Backend(FromBackend::Page(page)));
        }
        let Some(refusal) = outcome.refusal else { return };
        if refusal.code != RefusalCode::Unauthenticated {
            self.reconnect.proved();
            self.notices.push_back(Notice::Backend(FromBackend::PullRefused { collection, refusal }));
        } else if let Some(refusal) = self.unauthenticated(Source::Pull(collection), refusal, now) {
            self.notices.push_back(Notice::Backend(FromBackend::PullRefused { collection, refusal }));
        }
    }

    /// Ends the connection, or gives the refusal back because other things work.
    pub(super) fn unauthenticated(&mut self, source: Source, refusal: Refusal, now: Duration) -> Option<Refusal> {
        let alone = self.follows.values().all(Follow::is_unauthenticated);
        let why = refusal.message.clone();
        match self.reconnect.unauthenticated(source, alone) {
            Verdict::Refresh => self.end(End::Stale(why), now),
            Verdict::GiveUp if !self.has_auth => {
                self.end(End::Unauthenticated(format!("{why} (this app has no token callback)")), now);
            }
            Verdict::GiveUp => self.end(End::Unauthenticated(why), now),
            Verdict::Report => return Some(refusal),
        }
        None
    }
}

fn pull_function(collections: &[String], collection: CollectionIndex) -> Function<'_> {
    let module = collections.get(usize::from(collection.0)).map_or("", String::as_str);
    Function { module, name: FunctionName::PullDeltas }
}
