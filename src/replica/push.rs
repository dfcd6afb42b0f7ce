//! Pushing: one batch in flight, and its answer.

use std::collections::VecDeque;

use super::{
    Effect, Lookup, Push, PushAnswer, PushNumber, Refusal, RefusalCode, RefusedWrite, Replica, StoreRequest,
    remote::Stage,
};
use crate::{
    CollectionIndex, DocumentKey,
    failure::FailureKind,
    record::{ToBackend, Write},
};

impl Replica {
    pub(super) fn connected(&mut self) {
        if let Stage::Disconnected = self.remote.stage {
            self.remote.stage = Stage::Connected;
        }
        self.retry();
    }

    pub(super) fn disconnected(&mut self) {
        let mut held = VecDeque::new();
        if self.remote.has_deployment() {
            held = self.remote.stage.take_held();
            // The next connection may be to a wiped or restored log: its first page tells.
            self.remote.stage = Stage::Disconnected;
        }
        // The last page of the ended connection is not the last of the next one, which may have more.
        for page in &mut self.pages {
            page.is_last = false;
        }
        for index in 0..self.collections.len() {
            let name = CollectionIndex(index as u16);
            // The transport goes on after these pages, so their rows are asked for again.
            if held.iter().any(|page| page.collection == name) {
                self.subscribe_again(name);
            }
        }
        self.push_ended();
    }

    pub(super) fn retry(&mut self) {
        for collection in &mut self.collections {
            collection.paused = false;
            collection.outbox.retry();
        }
    }

    pub(super) fn push_ended(&mut self) {
        if let Some((_, index)) = self.remote.in_flight.take() {
            self.collections[index.0 as usize].outbox.dropped();
        }
    }

    /// Whether this is the push in flight. A push that was given up with its connection may still be answered in the
    /// next connection.
    fn is_in_flight(&self, number: PushNumber) -> bool {
        self.remote.in_flight.is_some_and(|(in_flight, _)| in_flight == number)
    }

    pub(super) fn push_dropped(&mut self, number: PushNumber) {
        if self.is_in_flight(number) {
            self.push_ended();
        }
    }

    /// Offers documents again that were edited since they were refused.
    pub(super) fn offer_edited(&mut self, now: i64) {
        let next = self.collections.iter_mut().filter_map(|collection| collection.outbox.offer_edited(now));
        self.due = next.min();
    }

    pub(super) fn push_more(&mut self) {
        if !matches!(self.remote.stage, Stage::Identified) || self.remote.in_flight.is_some() {
            return;
        }
        for step in 0..self.collections.len() {
            let index = (self.remote.turn + step) % self.collections.len();
            let collection = &mut self.collections[index];
            if collection.paused || collection.outbox.len() == 0 {
                continue;
            }
            let batch = collection.outbox.next_batch();
            let name = CollectionIndex(index as u16);
            if !batch.read.is_empty() {
                let (documents, history) = batch.read.into_iter().unzip();
                let read = batch.number;
                self.effects.push_back(Effect::Store(StoreRequest::ReadUnsent {
                    collection: name,
                    documents,
                    history,
                    read,
                }));
            }
            if batch.send.is_empty() {
                continue;
            }
            collection.outbox.sent(&batch.send);
            for (hash, _) in batch.send.iter().flat_map(|document| &document.changes) {
                self.remote.echoes.expect(*hash);
            }
            let number = PushNumber(self.remote.last_push.0 + 1);
            self.remote.last_push = number;
            self.remote.in_flight = Some((number, name));
            self.remote.turn = index + 1;
            self.effects.push_back(Effect::Backend(ToBackend::Push(Push {
                number,
                collection: name,
                documents: batch.send,
            })));
            return;
        }
    }

    pub(super) fn answered(&mut self, answer: PushAnswer, now: i64) {
        if !self.is_in_flight(answer.number) {
            return;
        }
        let named = !answer.epoch.is_empty() && self.remote.epoch() == Some("");
        if named {
            // The log had no name before it was written to.
            self.remote.name_log(&answer.epoch);
        }
        if self.remote.epoch() != Some(&*answer.epoch) {
            // Another log has these changes now. Its first page starts the lookup.
            self.push_ended();
            self.remote.stage.doubt();
            return;
        }
        self.remote.in_flight = None;
        let mut writes = Vec::new();
        let (mut accepted, mut standing) = (Vec::new(), Vec::new());
        let (mut refused, mut pruned) = (Vec::new(), Vec::new());
        let collection = &mut self.collections[answer.collection.0 as usize];
        for (id, result) in answer.results {
            match result {
                Ok(()) => {
                    accepted.push(id.clone());
                    collection.believed = true;
                    let changes = collection.outbox.accepted(&id);
                    let name = collection.name.clone();
                    writes.extend(self.remote.id().map(|remote| Write::Sent { remote, collection: name, id, changes }));
                }
                Err(refusal) if refusal.code == RefusalCode::Pruned => {
                    pruned.push((DocumentKey { collection: answer.collection, id }, refusal));
                }
                Err(refusal) => {
                    let is_news = collection.outbox.refused(&id, &refusal, now);
                    if collection.outbox.is_refused(&id) {
                        standing.push((id.clone(), refusal.clone()));
                    }
                    refused.extend(is_news.then_some((id, refusal)));
                }
            }
        }
        collection.outbox.dropped();
        for write in writes {
            self.write(write);
        }
        for id in accepted {
            self.lifted(&DocumentKey { collection: answer.collection, id });
        }
        for (id, refusal) in standing {
            self.stands(DocumentKey { collection: answer.collection, id }, RefusedWrite::new(&refusal, now));
        }
        for (key, refusal) in pruned {
            self.pruned(key, &refusal);
        }
        if named && self.remote.stage.identify() {
            self.effects.push_back(Effect::Store(StoreRequest::LookUp(Lookup::Epoch(answer.epoch))));
        }
        for (id, refusal) in refused {
            let message = format!(
                "the deployment refused its changes: {} ({}). They are kept, and offered again when the document is edited, or when you reconnect or \
                 retry. Discarding them shows the document as the deployment has it",
                refusal.message, refusal.code
            );
            self.fail(FailureKind::Refused, Some(answer.collection), Some(id), message);
        }
    }

    pub(super) fn push_refused(&mut self, number: PushNumber, collection: CollectionIndex, refusal: Refusal) {
        if !self.is_in_flight(number) {
            return;
        }
        self.push_ended();
        if let Some(collection) = self.collections.get_mut(collection.0 as usize) {
            collection.paused = true;
        }
        let kind = match refusal.code {
            RefusalCode::Unauthenticated => FailureKind::Unauthenticated,
            _ => FailureKind::Refused,
        };
        let message = format!(
            "the deployment refused what was sent: {} ({}). It is kept, and offered again when you reconnect or retry",
            refusal.message, refusal.code
        );
        self.fail(kind, Some(collection), None, message);
    }
}
