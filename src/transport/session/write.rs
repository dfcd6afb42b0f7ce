//! Writing: one push at a time, and one mutation of a push at a time.

use std::time::Duration;

use convex::FunctionResult;

use super::{Mutation, Output, Session, unknown_collection};
use crate::{
    record::{FromBackend, Push, Refusal},
    transport::{
        Notice,
        outgoing::{Heard, Next, Outgoing},
        reconnect::{End, Source},
    },
};

/// How long a deployment may take for a mutation: longer than Convex lets any mutation run.
const MUTATION_TIMEOUT: Duration = Duration::from_secs(60);

/// A push that is being sent.
pub(super) struct InFlight {
    outgoing: Outgoing,
    /// The mutation that has no answer yet, and the time when it was called.
    called: Option<(Mutation, Duration)>,
}

impl InFlight {
    /// The time at which the connection is given up because no answer came.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.called.map(|(_, since)| since + MUTATION_TIMEOUT)
    }

    /// The reason to give the connection up, if there is one.
    pub(super) fn is_late(&self, now: Duration) -> Option<String> {
        let (function, seconds) = (self.outgoing.function(), MUTATION_TIMEOUT.as_secs());
        let is_late = self.deadline().is_some_and(|deadline| deadline <= now);
        is_late.then(|| format!("`{function}` was not answered within {seconds} seconds"))
    }

    /// The notice for a connection that ended before the push was finished.
    pub(super) fn dropped(&self) -> Notice {
        self.outgoing.dropped()
    }
}

impl Session {
    pub(super) fn push(&mut self, push: Push, now: Duration) {
        let Push { number, collection, .. } = push;
        if usize::from(collection.0) >= self.collections.len() {
            let refusal = unknown_collection(collection);
            self.notices.push_back(Notice::Backend(FromBackend::PushRefused { number, collection, refusal }));
        } else if self.is_open() {
            self.waiting.push_back(push);
            if self.in_flight.is_none() {
                self.send(now);
            }
        } else {
            self.notices.push_back(Notice::Backend(FromBackend::PushDropped { number, collection }));
        }
    }

    /// Calls the next mutation of the push in flight, or starts with the next push.
    fn send(&mut self, now: Duration) {
        loop {
            let in_flight = match &mut self.in_flight {
                Some(in_flight) => in_flight,
                None => {
                    let Some(push) = self.waiting.pop_front() else { return };
                    let name = &self.collections[usize::from(push.collection.0)];
                    self.in_flight.insert(InFlight { outgoing: Outgoing::new(push, name), called: None })
                }
            };
            match in_flight.outgoing.next() {
                Next::Send(arguments) => {
                    self.mutations += 1;
                    let mutation = Mutation(self.mutations);
                    in_flight.called = Some((mutation, now));
                    let function = in_flight.outgoing.function().to_string();
                    self.outputs.push_back(Output::Mutate { mutation, function, arguments });
                    return;
                }
                Next::Done(notice) => {
                    self.in_flight = None;
                    self.notices.push_back(notice);
                }
            }
        }
    }

    pub(super) fn mutation_answered(
        &mut self,
        mutation: Mutation,
        result: Result<&FunctionResult, Refusal>,
        now: Duration,
    ) {
        let Some(in_flight) = &mut self.in_flight else { return };
        // A repeated answer must not be taken for the answer of the next mutation.
        if in_flight.called.take_if(|(called, _)| *called == mutation).is_none() {
            return;
        }
        let heard = match result {
            Ok(result) => in_flight.outgoing.answered(result),
            Err(refusal) => {
                in_flight.outgoing.give_up(refusal);
                Heard::GoOn
            }
        };
        match heard {
            Heard::GoOn => self.reconnect.worked(Source::Push),
            Heard::EpochChanged => {
                let why = "the deployment's log was replaced in the middle of a push";
                self.end(End::Lost(why.into()), now);
                return;
            }
            Heard::Unauthenticated(refusal) => match self.unauthenticated(Source::Push, refusal, now) {
                Some(refusal) => {
                    if let Some(in_flight) = &mut self.in_flight {
                        in_flight.outgoing.give_up(refusal);
                    }
                }
                None => return,
            },
        }
        self.send(now);
    }
}
