//! The backend's side of pushing: one batch in flight, and what became of it.

use super::{Effect, Push, PushAnswer, PushNumber, Refusal, RefusalCode, Replica};
use crate::{CollectionIndex, DocumentKey, failure::FailureKind, record::Write};

impl Replica {
    pub(super) fn connected(&mut self) {
        self.remote.connected = true;
        self.retry();
    }

    pub(super) fn disconnected(&mut self) {
        self.remote.connected = false;
        // The next connection may be to a wiped or restored log: its first page tells.
        self.remote.identified = false;
        self.remote.identifying = false;
        // They end what the former connection told, and the next one may have more.
        for page in &mut self.pages {
            page.is_last = false;
        }
        let held = std::mem::take(&mut self.remote.held);
        for (index, collection) in self.collections.iter().enumerate() {
            let name = CollectionIndex(index as u16);
            // The transport goes on after them: what they brought has to come again.
            if held.iter().any(|page| page.collection == name) {
                let checkpoint = collection.pull.checkpoint();
                self.effects.push_back(Effect::Subscribe { collection: name, checkpoint });
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

    /// Whether this is the push on its way. One that was given up when its connection ended may still be answered, by the next connection.
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
        if !(self.remote.connected && self.remote.identified) || self.remote.in_flight.is_some() {
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
                self.effects.push_back(Effect::ReadUnsent { collection: name, documents, history, read });
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
            self.effects.push_back(Effect::Push(Push { number, collection: name, documents: batch.send }));
            return;
        }
    }

    pub(super) fn answered(&mut self, answer: PushAnswer, now: i64) {
        if !self.is_in_flight(answer.number) {
            return;
        }
        let named = !answer.epoch.is_empty() && self.remote.epoch.as_deref() == Some("");
        if named {
            // The log had no name before it was written to.
            self.remote.epoch = Some(answer.epoch.clone());
        }
        if self.remote.epoch.as_deref() != Some(&*answer.epoch) {
            // Another log has them now; the first page of it tells the rest.
            self.push_ended();
            self.remote.identified = false;
            return;
        }
        self.remote.in_flight = None;
        let mut writes = Vec::new();
        let (mut refused, mut pruned) = (Vec::new(), Vec::new());
        let collection = &mut self.collections[answer.collection.0 as usize];
        for (id, result) in answer.results {
            match result {
                Ok(()) => {
                    collection.believed = true;
                    let changes = collection.outbox.accepted(&id);
                    let name = collection.name.clone();
                    writes.extend(self.remote.id.map(|remote| Write::Sent { remote, collection: name, id, changes }));
                }
                Err(refusal) if refusal.code == RefusalCode::Pruned => {
                    pruned.push((DocumentKey { collection: answer.collection, id }, refusal));
                }
                Err(refusal) if collection.outbox.refused(&id, &refusal, now) => refused.push((id, refusal)),
                Err(_) => {}
            }
        }
        collection.outbox.dropped();
        for write in writes {
            self.write(write);
        }
        for (key, refusal) in pruned {
            self.pruned(key, &refusal);
        }
        if named {
            self.remote.identified = false;
            self.remote.identifying = true;
            self.effects.push_back(Effect::Identify { epoch: answer.epoch });
        }
        for (id, refusal) in refused {
            let message = format!(
                "the deployment refused its changes: {} ({}). They are kept, and offered again when the document is edited, or when you reconnect or \
                 retry",
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
