//! Deltas to world.

use std::{
    any::Any,
    collections::VecDeque,
    time::{Duration, Instant, SystemTime},
};

use bevy::{ecs::world::DeferredWorld, platform::cell::SyncCell, prelude::*};

use super::{
    arrival::{Arrived, Held},
    capture::{capture_now, report, send},
    collections::Collections,
    compared::compared,
    component::Change,
    hierarchy,
    index::{DocumentIndex, Life, Slot, Spawning},
    link::Link,
    tuple::{self, Form},
};
use crate::{
    CollectionIndex,
    failure::{Failure, FailureKind},
    message::{ChangeKind, Misfit, SyncStatus},
    record::{Capture, Generation, Kept, Origin},
    status::{Connection, Status},
    worker::{self, Command, Report},
};

/// How many documents are applied between two looks at the clock.
const DOCUMENTS_PER_LOOK: usize = 16;
/// How many reports are taken in between two looks at the clock.
const REPORTS_PER_LOOK: usize = 64;
/// A version that lacks an edit made here waits this many frames for a newer one, so that the edit does not blink ..
const FRAMES_TO_WAIT: u32 = 8;
/// .. and at least this long, because an app without a display has thousands of frames in the time a worker takes. Then it is shown
/// anyway: whoever edits a document in every frame sees what others do to it as well.
const TIME_TO_WAIT: Duration = Duration::from_millis(100);

/// How long applying may take in a frame, and how long a version waits for a newer one.
#[derive(Resource, Clone, Copy)]
pub(crate) struct ApplyBudget {
    pub frame: Duration,
    pub wait: Duration,
}

impl ApplyBudget {
    pub(crate) fn of(frame: Duration) -> Self {
        Self { frame, wait: TIME_TO_WAIT }
    }
}

/// A version that waits to be applied.
pub(crate) struct Pending {
    generation: Generation,
    seen: Capture,
    content: SyncCell<Option<Box<dyn Any + Send>>>,
    misfit: Option<Box<worker::Misfit>>,
    origin: Origin,
    /// Since when, and for how many frames, it has waited for a newer one.
    waiting: Option<(Instant, u32)>,
    /// Whether it is in the queue.
    queued: bool,
}

impl Pending {
    /// Whether it waits for a version that includes the newest edits.
    pub(crate) fn waits(&self) -> bool {
        self.waiting.is_some()
    }
}

enum Next {
    Document(Slot),
    Ready(CollectionIndex),
    Arrived(Arrived),
}

/// What apply keeps from frame to frame.
#[derive(Default)]
pub(crate) struct Applying {
    queue: VecDeque<Next>,
    /// Documents whose version waits for a newer one.
    waiting: Vec<Slot>,
    /// What is true as soon as some of those are applied.
    held: Held,
}

impl Applying {
    /// It is no longer so.
    fn forget(&mut self, arrived: Arrived) {
        self.queue.retain(|next| !matches!(next, Next::Arrived(queued) if *queued == arrived));
        self.held.forget(arrived);
    }

    /// The worker is live when all versions were reported; the app is when they are in the world. Until then it is
    /// shown to be catching up.
    fn hold_back(&mut self, status: &mut Status, shown: &Connection) {
        if status.connection != Connection::Live {
            return self.forget(Arrived::Live);
        }
        let progress = match shown {
            Connection::Live => return,
            Connection::CatchingUp { .. } => shown.clone(),
            _ => Connection::CatchingUp { received: 0, total: None },
        };
        // Once is enough, and the first is the one that is true the soonest.
        if !self.held.has(Arrived::Live) && !self.queue.iter().any(|next| matches!(next, Next::Arrived(Arrived::Live)))
        {
            self.queue.push_back(Next::Arrived(Arrived::Live));
        }
        status.connection = progress;
    }
}

/// What became of a version.
enum Outcome {
    Done,
    Waits,
}

/// Takes in what the worker reports, and moves waiting versions into the world within the budget.
pub(crate) fn apply(world: &mut World, mut applying: Local<Applying>) {
    let budget = world.resource::<ApplyBudget>().frame;
    let start = Instant::now();
    take_in(world, &mut applying, start, budget / 2);
    let Applying { queue, waiting, held } = &mut *applying;

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
    // Those that go on waiting are looked at once a frame.
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
                    world.resource_mut::<DocumentIndex>().set_ready(collection);
                }
            }
            Some(Next::Arrived(arrived)) => {
                let slots = waiting_for(world, queue, waiting, arrived);
                held.tell_after(world, arrived, slots);
            }
            Some(Next::Document(slot)) => {
                if let Outcome::Waits = apply_one(world, slot) {
                    waiting.push(slot);
                }
            }
        }
    }
    held.tell_due(world);
    send(world);
}

/// The documents of which a version that was reported before `arrived` waits for a newer one.
fn waiting_for(world: &World, queue: &VecDeque<Next>, waiting: &[Slot], arrived: Arrived) -> Vec<Slot> {
    let index = world.resource::<DocumentIndex>();
    let queued = queue.iter().filter_map(|next| match next {
        Next::Document(slot) => Some(slot),
        _ => None,
    });
    let is_waiting = |slot: &Slot| index.entry(*slot).waits() && arrived.is_of(index.entry(*slot).key.collection);
    waiting.iter().chain(queued).copied().filter(is_waiting).collect()
}

fn take_in(world: &mut World, applying: &mut Applying, start: Instant, budget: Duration) {
    let mut reports = Vec::new();
    loop {
        let Some(mut link) = world.get_resource_mut::<Link>() else { return };
        reports.extend(std::iter::from_fn(|| link.try_recv()).take(REPORTS_PER_LOOK));
        if reports.is_empty() {
            return;
        }
        for report in reports.drain(..) {
            take_in_one(world, applying, report);
        }
        if start.elapsed() >= budget {
            return;
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
            let content = SyncCell::new(content);
            let mut pending = Pending { generation, seen, content, misfit, origin, waiting: None, queued: true };
            match entry.pending.take() {
                // The newer one takes the older one's place, and brings its news too.
                Some(older) => {
                    pending.origin = both(older.origin, origin);
                    pending.waiting = older.waiting;
                    pending.queued = older.queued;
                }
                None => queue.push_back(Next::Document(slot)),
            }
            entry.pending = Some(pending);
        }
        Report::Ready(collection) => queue.push_back(Next::Ready(collection)),
        Report::Read { collection, read: true } => queue.push_back(Next::Arrived(Arrived::Read(collection))),
        Report::Read { collection, read: false } => {
            applying.forget(Arrived::Read(collection));
            world.resource_mut::<DocumentIndex>().set_read(collection, false);
            world.resource_mut::<SyncStatus>().deployment_read = false;
        }
        Report::Compared { document, capture, fields } => compared(world, &document, capture, &fields),
        Report::Failed(failure) => {
            not_written(world, &failure);
            report(world, failure);
        }
        Report::Stopped(failure) => {
            applying.queue.retain(|next| !matches!(next, Next::Arrived(_)));
            applying.held = Held::default();
            world.resource_mut::<DocumentIndex>().forget_read();
            world.resource_mut::<SyncStatus>().stop(&failure);
            report(world, failure);
        }
        Report::Status(mut status) => {
            applying.hold_back(&mut status, &world.resource::<SyncStatus>().connection);
            world.resource_mut::<DocumentIndex>().saved = status.saved;
            let mut shown = world.resource_mut::<SyncStatus>();
            if shown.differs(&status) {
                shown.take(&status);
            }
        }
    }
}

/// An edit was refused, so the document may lack what it was to hold: its next version takes no component from the
/// entity.
fn not_written(world: &mut World, failure: &Failure) {
    if failure.kind != FailureKind::Unwritable {
        return;
    }
    let (Some(collection), Some(id)) = (&failure.collection, &failure.document) else { return };
    let Some(collection) = world.resource::<Collections>().index_of(collection) else { return };
    let mut index = world.resource_mut::<DocumentIndex>();
    if let Some(slot) = index.find(collection, id) {
        index.entry_mut(slot).has = 0;
    }
}

/// Who made a change that consists of two.
fn both(first: Origin, second: Origin) -> Origin {
    match (first, second) {
        (Origin::Remote, _) | (_, Origin::Remote) => Origin::Remote,
        (Origin::Stored, _) | (_, Origin::Stored) => Origin::Stored,
        _ => Origin::Local,
    }
}

fn apply_one(world: &mut World, slot: Slot) -> Outcome {
    let wait = world.resource::<ApplyBudget>().wait;
    let mut index = world.resource_mut::<DocumentIndex>();
    let entry = index.entry_mut(slot);
    let Some(mut pending) = entry.pending.take() else { return Outcome::Done };
    pending.queued = false;
    if let Some(entity) = entry.entity {
        // What was edited since the last capture is sent before it is overwritten.
        if is_dirty(world, slot, entity) {
            capture_now(&mut world.into(), entity);
        }
        let entry = world.resource_mut::<DocumentIndex>().into_inner().entry_mut(slot);
        if pending.seen < entry.compared.wanted(entry.captures) {
            let (since, frames) = pending.waiting.get_or_insert_with(|| (Instant::now(), 0));
            *frames += 1;
            if *frames <= FRAMES_TO_WAIT || since.elapsed() < wait {
                entry.pending = Some(pending);
                return Outcome::Waits;
            }
        }
    }
    let mut index = world.resource_mut::<DocumentIndex>();
    let entry = index.entry_mut(slot);
    let from = std::mem::replace(&mut entry.generation, pending.generation);
    let (key, entity, absent, had) = (entry.key.clone(), entry.entity, entry.absent, entry.has);
    let is_latest = pending.seen >= entry.captures;
    let is_unwanted = entity.is_none() && (entry.hidden || (entry.is_deleted() && pending.seen < entry.captures));
    let content = SyncCell::to_inner(pending.content);
    if !is_unwanted {
        entry.life = if content.is_none() { Life::Deleted } else { Life::Alive };
    }
    index.acknowledged.push((key.clone(), pending.generation));
    if is_unwanted {
        return Outcome::Done;
    }
    let Some(registered) = world.resource::<Collections>().get(key.collection) else { return Outcome::Done };
    let form = registered.form.clone();
    let mut change = Change {
        collection: key.collection,
        id: key.id.clone(),
        entity,
        kind: ChangeKind::Updated,
        origin: pending.origin,
    };
    let lacks = content.as_deref().map_or(0, |content| form.lacks(content));
    // A version from before an edit of this world says nothing of what that put there.
    let removed = if is_latest { had & lacks } else { 0 };
    let entry = world.resource_mut::<DocumentIndex>().into_inner().entry_mut(slot);
    entry.has = (had | !lacks) & !removed;
    let was_default = std::mem::take(&mut entry.is_default);
    match (entity, content) {
        (Some(entity), Some(content)) => {
            let present = world.get_entity(entity).map_or(0, |shown| form.present(shown));
            let components = pending.misfit.as_ref().map_or(0, |misfit| misfit.components) & present;
            if components != 0 {
                // Before any edit at this version.
                let kept = Kept { document: key.clone(), generation: pending.generation, from, components };
                world.resource_mut::<DocumentIndex>().send(Command::Kept(kept));
            }
            let (replaced, added) = form.update(world, entity, content, absent);
            flag(world, entity, pending.misfit);
            if was_default {
                // Components that it was spawned with and the document lacks are an addition.
                form.touch(world, entity, lacks & !removed);
            }
            let removed = removed & world.get_entity(entity).map_or(0, |shown| form.present(shown));
            tuple::announce(&*form, &mut world.into(), replaced, added, change.clone());
            if removed != 0 {
                take_away(world, &*form, slot, entity, removed);
                change.kind = ChangeKind::Removed;
                form.announce(&mut world.into(), removed, &change);
            }
        }
        (None, Some(content)) => {
            let tick = world.change_tick();
            world.resource_mut::<DocumentIndex>().spawning = Some(Spawning { slot, tick });
            let spawned = form.spawn(world, key.id, content);
            world.resource_mut::<DocumentIndex>().spawning = None;
            if let Some((entity, added)) = spawned {
                flag(world, entity, pending.misfit);
                change.entity = Some(entity);
                tuple::announce(&*form, &mut world.into(), 0, added, change);
            }
        }
        (Some(entity), None) => {
            let present = world.get_entity(entity).map_or(0, |shown| form.present(shown));
            hierarchy::release(world, entity);
            world.resource_mut::<DocumentIndex>().dissociate(entity);
            world.despawn(entity);
            change.entity = None;
            change.kind = ChangeKind::Removed;
            form.announce(&mut world.into(), present, &change);
        }
        (None, None) => {}
    }
    Outcome::Done
}

/// Says on the entity whether the document fits.
fn flag(world: &mut World, entity: Entity, misfit: Option<Box<worker::Misfit>>) {
    let Ok(mut entity) = world.get_entity_mut(entity) else { return };
    match (misfit, entity.get::<Misfit>()) {
        (None, None) => {}
        (None, Some(_)) => drop(entity.remove::<Misfit>()),
        (Some(misfit), None) => {
            entity.insert(Misfit { problems: misfit.problems, since: SystemTime::now() });
        }
        (Some(misfit), Some(shown)) => {
            let since = shown.since;
            entity.insert(Misfit { problems: misfit.problems, since });
        }
    }
}

/// Takes components from `entity` that somebody removed from the document. They come back if somebody puts them into it
/// again.
pub(super) fn take_away(world: &mut World, form: &dyn Form, slot: Slot, entity: Entity, mask: u32) {
    form.remove(world, entity, mask);
    let entry = world.resource_mut::<DocumentIndex>().into_inner().entry_mut(slot);
    if entry.entity == Some(entity) {
        entry.absent &= !mask;
    }
}

fn is_dirty(world: &mut World, slot: Slot, entity: Entity) -> bool {
    let now = world.change_tick();
    let index = world.resource::<DocumentIndex>();
    let entry = index.entry(slot);
    if entry.fresh {
        return true;
    }
    let since = index.since(entity);
    let Some(registered) = world.resource::<Collections>().get(entry.key.collection) else { return false };
    world.get_entity(entity).is_ok_and(|shown| registered.form.is_dirty(shown, since, now))
}
