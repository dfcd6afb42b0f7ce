//! Finds the documents whose component changed.

use bevy::{
    ecs::{change_detection::Tick, entity_disabling::Disabled},
    prelude::*,
};

use super::{coding::Replicated, form::Scan};
use crate::DocumentId;

/// Mentions [`Disabled`], so that disabled entities are found too: disabling an entity does not undo its edits.
type Documents = (With<DocumentId>, Or<(With<Disabled>, Without<Disabled>)>);

/// Finds the entities whose `T` changed.
pub(super) struct Scanner<T: Replicated>(QueryState<(Entity, Ref<'static, T>), Documents>);

impl<T: Replicated> Scanner<T> {
    pub(super) fn new(world: &mut World) -> Self {
        Self(QueryState::new(world))
    }
}

impl<T: Replicated> Scan for Scanner<T> {
    fn scan(&mut self, world: &World, since: Tick, now: Tick, dirty: &mut Vec<Entity>) {
        if let Ok(tables) = self.0.contiguous_iter(world) {
            for (entities, values) in tables {
                changed_rows(values.changed_ticks_slice(), since, now, |row| dirty.push(entities[row]));
            }
            return;
        }
        // Components in sparse sets have no columns.
        for (entity, value) in self.0.iter(world) {
            if value.last_changed().is_newer_than(since, now) {
                dirty.push(entity);
            }
        }
    }
}

/// Calls `found` for each row with a tick newer than `since`. Usually no row is newer, so it compares many rows at
/// once, without a branch for each.
fn changed_rows(ticks: &[Tick], since: Tick, now: Tick, mut found: impl FnMut(usize)) {
    const ROWS: usize = 64;
    for (chunk, rows) in ticks.chunks(ROWS).enumerate() {
        if rows.iter().fold(false, |any, tick| any | tick.is_newer_than(since, now)) {
            for (row, tick) in rows.iter().enumerate() {
                if tick.is_newer_than(since, now) {
                    found(chunk * ROWS + row);
                }
            }
        }
    }
}
