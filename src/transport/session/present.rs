//! Presence: what this app shows to others, and the others.

use std::time::Duration;

use convex::FunctionResult;

use super::{Mutation, Output, Session, Subscription};
use crate::{
    CollectionIndex,
    record::{Refusal, Showing},
    transport::{
        Notice,
        presence::{AreaKey, Next},
        wire::{self, Function, FunctionName, Pace},
    },
};

impl Session {
    /// Gives the session the secret that proves which peer it is.
    pub(crate) fn with_secret(mut self, secret: String) -> Self {
        self.areas.set_secret(secret);
        self
    }

    pub(super) fn show(&mut self, showing: Showing) {
        if usize::from(showing.collection.0) < self.collections.len() {
            let next = self.areas.show(showing);
            self.obey(next);
        }
    }

    pub(super) fn leave(&mut self) {
        self.areas.leave();
    }

    /// Does what is due.
    pub(super) fn present(&mut self, now: Duration) {
        self.areas.set_pushing(self.in_flight.is_some());
        let next = self.areas.next(self.is_open(), now);
        self.obey(next);
    }

    fn obey(&mut self, next: impl IntoIterator<Item = Next>) {
        for next in next {
            match next {
                Next::Set { collection, scope, value } => {
                    if !self.is_open() {
                        continue;
                    }
                    self.mutations += 1;
                    let mutation = Mutation(self.mutations);
                    self.areas.called(mutation, collection, scope.clone());
                    let function = self.presence_function(collection, FunctionName::SetPresence).to_string();
                    let arguments =
                        wire::set_presence_arguments(self.areas.secret(), scope.as_deref(), value.as_deref());
                    self.outputs.push_back(Output::Mutate { mutation, function, arguments });
                }
                Next::Follow { collection, key, scope } => self.outputs.push_back(Output::Subscribe {
                    subscription: Subscription::Peers(collection, key),
                    function: self.presence_function(collection, FunctionName::ListPresence).to_string(),
                    arguments: wire::list_presence_arguments(scope.as_deref()),
                }),
                Next::Unfollow { collection, key } => {
                    self.outputs.push_back(Output::Unsubscribe(Subscription::Peers(collection, key)));
                }
                Next::Peers { collection, peers } => {
                    // A worker that is slow skips what it has not taken.
                    let waits = |notice: &&mut Notice| matches!(notice, Notice::Peers { collection: of, .. } if *of == collection);
                    let notice = Notice::Peers { collection, peers };
                    match self.notices.iter_mut().find(waits) {
                        Some(waiting) => *waiting = notice,
                        None => self.notices.push_back(notice),
                    }
                }
                Next::Refused { collection, refusal } => {
                    self.notices.push_back(Notice::PresenceRefused { collection, refusal });
                }
                Next::Left => self.notices.push_back(Notice::Left),
            }
        }
    }

    /// Whether the mutation was one of presence.
    pub(super) fn presence_answered(
        &mut self,
        mutation: Mutation,
        result: Result<&FunctionResult, Refusal>,
        now: Duration,
    ) -> bool {
        let Some(call) = self.areas.take_call(mutation) else { return false };
        let function = self.presence_function(call.collection, FunctionName::SetPresence);
        let answer = result.and_then(|result| wire::outcome(result, function)).and_then(Pace::of);
        let next = self.areas.answered(call, answer, now);
        self.obey(next);
        true
    }

    pub(super) fn listed(&mut self, collection: CollectionIndex, key: AreaKey, result: &FunctionResult) {
        let function = self.presence_function(collection, FunctionName::ListPresence);
        let peers = wire::outcome(result, function).and_then(wire::peers);
        let next = self.areas.listed(collection, key, peers);
        self.obey(next);
    }

    fn presence_function(&self, collection: CollectionIndex, name: FunctionName) -> Function<'_> {
        let module = self.collections.get(usize::from(collection.0)).map_or("", String::as_str);
        Function { module, name }
    }
}
