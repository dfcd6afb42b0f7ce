//! The system at the start of a frame: it takes in the worker's reports and applies versions of documents to the world.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bevy::{ecs::world::DeferredWorld, prelude::*};

use super::{
    account::Session,
    answer,
    arrival::{Arrived, Held, Progress},
    budget::ApplyBudget,
    collections::Collections,
    entry::Slot,
    failures::report,
    index::DocumentIndex,
    link::Link,
    outbox::{self, Outbox},
    pending::Pending,
    presence, refusals,
    version::{Outcome, apply_one},
};
use crate::{
    CollectionIndex,
    message::{RefusedDocuments, SyncStatus},
    status::{Connection, Status},
    worker::Report,
};

/// The number of documents that are applied between two readings of the clock.
const DOCUMENTS_PER_LOOK: usize = 16;
/// The number of reports that are taken between two readings of the clock.
const REPORTS_PER_LOOK: usize = 64;

enum Next {
    Document(Slot),
    Ready(CollectionIndex),
    Arrived(Arrived),
}

/// The state that apply keeps from frame to frame.
#[derive(Default)]
pub(crate) struct Applying {
    queue: VecDeque<Next>,
    /// Documents whose version waits for a newer one.
    waiting: Vec<Slot>,
    /// News that waits until some of those are applied.
    held: Held,
    /// Entities that are marked as refused.
    marked: Vec<Entity>,
    /// The session that all of this belongs to.
    session: Session,
}

impl Applying {
    /// `arrived` is no longer true.
    fn forget(&mut self, arrived: Arrived) {
        self.queue.retain(|next| !matches!(next, Next::Arrived(queued) if *queued == arrived));
        self.held.forget(arrived);
    }

    /// The worker is live when it has reported all versions; the app is live when they are in the world. Until then the
    /// status stays at catching up.
    fn hold_back(&mut self, status: &mut Status, shown: &Connection) {
        if status.connection != Connection::Live {
            return self.forget(Arrived::Live);
        }
        let progress = match shown {
            Connection::Live => return,
            Connection::CatchingUp { .. } => shown.clone(),
            _ => Connection::CatchingUp { received: 0, total: None },
        };
        // One such entry in the queue is enough, and the first one becomes true the soonest.
        if !self.held.has(Arrived::Live) && !self.queue.iter().any(|next| matches!(next, Next::Arrived(Arrived::Live)))
        {
            self.queue.push_back(Next::Arrived(Arrived::Live));
        }
        status.connection = progress;
    }
}

/// Takes in the worker's reports, and applies versions that wait, within the budget.
pub(crate) fn apply(world: &mut World, mut applying: Local<Applying>) {
    let budget = world.resource::<ApplyBudget>().frame;
    let start = Instant::now();
    let session = *world.resource::<Session>();
    if applying.session != session {
        *applying = Applying { session, ..Applying::default() };
    }
    let more = take_in(world, &mut applying, start, budget / 2);
    let Applying { queue, waiting, held, marked, .. } = &mut *applying;

    for slot in std::mem::take(waiting) {
        let mut index = world.resource_mut::<DocumentIndex>();
        if let Some(pending) = &mut index.entry_mut(slot).pending
            && !pending.queued
        {
            pending.queued = true;
            queue.push_back(Next::Document(slot));
        }
    }
    let mut applied = 0;
    // Versions that still wait are examined once a frame.
    let mut left = queue.len();
    while left > 0 {
        if applied % DOCUMENTS_PER_LOOK == 0 && applied > 0 && start.elapsed() >= budget {
            break;
        }
        applied += 1;
        left -= 1;
        match queue.pop_front() {
            None => break,
            Some(Next::Ready(collection)) => {
                if let Some(registered) = world.resource::<Collections>().get(collection) {
                    let form = registered.form.clone();
                    form.ready(&mut DeferredWorld::from(&mut *world));
                    world.resource_mut::<Progress>().set_ready(collection);
                }
            }
            Some(Next::Arrived(arrived)) => {
                let slots = waiting_for(world, queue, waiting, arrived);
                held.announce_after(world, arrived, slots);
            }
            Some(Next::Document(slot)) => {
                if let Outcome::Waits = apply_one(world, slot) {
                    waiting.push(slot);
                }
            }
        }
    }
    held.announce_due(world);
    let is_done = !more && queue.is_empty() && waiting.is_empty();
    refusals::mark(world, marked);
    outbox::send(world);
    // An app that sleeps between frames must not sleep now.
    if !is_done && let Some(mut link) = world.get_resource_mut::<Link>() {
        link.wake();
    }
}

/// The documents with a version that was reported before `arrived` and waits for a newer one.
fn waiting_for(world: &World, queue: &VecDeque<Next>, waiting: &[Slot], arrived: Arrived) -> Vec<Slot> {
    let index = world.resource::<DocumentIndex>();
    let queued = queue.iter().filter_map(|next| match next {
        Next::Document(slot) => Some(slot),
        _ => None,
    });
    let is_waiting = |slot: &Slot| index.entry(*slot).waits() && arrived.is_of(index.entry(*slot).key.collection);
    waiting.iter().chain(queued).copied().filter(is_waiting).collect()
}

/// Takes in reports. Returns whether there may be more.
fn take_in(world: &mut World, applying: &mut Applying, start: Instant, budget: Duration) -> bool {
    let mut reports = Vec::new();
    loop {
        let Some(mut link) = world.get_resource_mut::<Link>() else { return false };
        reports.extend(std::iter::from_fn(|| link.try_recv()).take(REPORTS_PER_LOOK));
        if reports.is_empty() {
            return false;
        }
        for report in reports.drain(..) {
            take_in_one(world, applying, report);
        }
        if start.elapsed() >= budget {
            return true;
        }
    }
}

fn take_in_one(world: &mut World, applying: &mut Applying, next: Report) {
    let queue = &mut applying.queue;
    match next {
        Report::Delta { document, generation, seen, content, misfit, origin } => {
            let mut index = world.resource_mut::<DocumentIndex>();
            let slot = index.slot(&document);
            let entry = index.entry_mut(slot);
            let mut pending = Pending::new(generation, seen, content, misfit, origin);
            match entry.pending.take() {
                Some(older) => pending.replaces(older),
                None => queue.push_back(Next::Document(slot)),
            }
            entry.pending = Some(pending);
        }
        Report::Ready(collection) => queue.push_back(Next::Ready(collection)),
        Report::Read { collection, read: true } => queue.push_back(Next::Arrived(Arrived::Read(collection))),
        Report::Read { collection, read: false } => {
            applying.forget(Arrived::Read(collection));
            world.resource_mut::<Progress>().set_read(collection, false);
            world.resource_mut::<SyncStatus>().deployment_read = false;
        }
        Report::Compared { document, seq, fields } => answer::compared(world, &document, seq, &fields),
        Report::Peers(news) => presence::take_in(world, news),
        Report::Refused { document, refused } => {
            world.resource_mut::<RefusedDocuments>().set(document, refused.map(Into::into));
        }
        Report::Failed(failure) => {
            answer::refused(world, &failure);
            report(world, failure);
        }
        Report::Stopped(failure) => {
            applying.queue.retain(|next| !matches!(next, Next::Arrived(_)));
            applying.held = Held::default();
            world.resource_mut::<Progress>().forget_read();
            world.resource_mut::<SyncStatus>().stop(&failure);
            report(world, failure);
        }
        Report::Status(mut status) => {
            applying.hold_back(&mut status, &world.resource::<SyncStatus>().connection);
            world.resource_mut::<Outbox>().set_saved(status.saved);
            let mut shown = world.resource_mut::<SyncStatus>();
            if shown.differs(&status) {
                shown.take(&status);
            }
        }
    }
}
