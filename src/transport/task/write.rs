//! Writing: one push at a time, and one mutation of it.

use convex::FunctionResult;

use super::{State, Task, unknown_collection};
use crate::{
    record::{Push, Refusal},
    transport::{
        Notice,
        outgoing::{Heard, Next, Outgoing},
        reconnect::{End, Source},
    },
};

impl Task {
    pub(super) fn push(&mut self, push: Push) {
        let Push { number, collection, .. } = push;
        if usize::from(collection.0) >= self.config.collections.len() {
            let refusal = unknown_collection(collection);
            self.tell(Notice::Refused { number, collection, refusal });
        } else if matches!(self.state, State::Connected(_)) {
            self.waiting.push_back(push);
            if self.outgoing.is_none() {
                self.send();
            }
        } else {
            self.tell(Notice::Dropped { number, collection });
        }
    }

    /// Sends the next mutation of the push in flight, or starts with the next push.
    fn send(&mut self) {
        loop {
            let State::Connected(connection) = &mut self.state else { return };
            let outgoing = match &mut self.outgoing {
                Some(outgoing) => outgoing,
                None => {
                    let Some(push) = self.waiting.pop_front() else { return };
                    let name = &self.config.collections[usize::from(push.collection.0)];
                    self.outgoing.insert(Outgoing::new(push, name))
                }
            };
            match outgoing.next() {
                Next::Send(arguments) => {
                    connection.mutate(outgoing.function().to_string(), arguments);
                    return;
                }
                Next::Done(notice) => {
                    self.outgoing = None;
                    self.tell(notice);
                }
            }
        }
    }

    pub(super) fn mutated(&mut self, result: Result<FunctionResult, Refusal>) {
        let Some(outgoing) = &mut self.outgoing else { return };
        let heard = match result {
            Ok(result) => outgoing.answered(&result),
            Err(refusal) => {
                outgoing.give_up(refusal);
                Heard::GoOn
            }
        };
        match heard {
            Heard::GoOn => self.reconnect.worked(Source::Push),
            Heard::EpochChanged => {
                self.ended(End::Lost("the deployment's log was replaced in the middle of a push".into()));
                return;
            }
            Heard::Unauthenticated(refusal) => match self.unauthenticated(Source::Push, refusal) {
                Some(refusal) => {
                    if let Some(outgoing) = &mut self.outgoing {
                        outgoing.give_up(refusal);
                    }
                }
                None => return,
            },
        }
        self.send();
    }
}
