//! The changes of components that the worker already knows.
//!
//! A component is dirty if its changed tick is newer than [`Ticks::since`] of its entity. That is the tick of the last
//! capture, or a newer one if apply has written the entity since or an edit of it was captured early. The world's tick
//! advances after each of these, so that every later change has a newer tick.

use bevy::{
    ecs::{
        change_detection::{CheckChangeTicks, Tick},
        entity::EntityHashMap,
    },
    prelude::*,
};

/// The ticks up to which the worker knows the components' changes.
#[derive(Resource)]
pub(crate) struct Ticks {
    last_capture: Tick,
    /// Entities whose changes are known up to a tick after the last capture. Each capture empties it.
    settled: EntityHashMap<Tick>,
}

impl Default for Ticks {
    fn default() -> Self {
        Self { last_capture: Tick::new(0), settled: EntityHashMap::default() }
    }
}

impl Ticks {
    /// A change of `entity` after this tick is new to the worker.
    pub(super) fn since(&self, entity: Entity) -> Tick {
        self.settled.get(&entity).copied().unwrap_or(self.last_capture)
    }

    /// The tick of the last capture.
    pub(super) fn last_capture(&self) -> Tick {
        self.last_capture
    }

    /// The worker knows all changes of `entity` up to `tick`.
    pub(super) fn settle(&mut self, entity: Entity, tick: Tick) {
        self.settled.insert(entity, tick);
    }

    /// `entity` shows no document any more.
    pub(super) fn forget(&mut self, entity: Entity) {
        self.settled.remove(&entity);
    }

    /// The worker knows all changes up to `tick`.
    pub(super) fn captured(&mut self, tick: Tick) {
        self.last_capture = tick;
        self.settled.clear();
    }
}

/// Advances the world's tick: later writes are newer than earlier ones. Returns the tick from before.
pub(super) fn advance(world: &World) -> Tick {
    world.as_unsafe_world_cell_readonly().increment_change_tick()
}

/// Clamps ticks that have grown too old, as the world does with its own.
pub(crate) fn check_ticks(check: On<CheckChangeTicks>, mut ticks: ResMut<Ticks>) {
    ticks.last_capture.check_tick(*check);
    for tick in ticks.settled.values_mut() {
        tick.check_tick(*check);
    }
}
