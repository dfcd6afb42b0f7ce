//! Marks entities whose documents the deployment refuses.

use bevy::prelude::*;

use super::index::DocumentIndex;
use crate::message::{Refused, RefusedDocuments, SyncStatus};

/// Brings the marks into step with the refused documents. There are few of either.
pub(super) fn mark(world: &mut World, marked: &mut Vec<Entity>) {
    let refused = world.resource::<RefusedDocuments>();
    let count = refused.len();
    if count == 0 && marked.is_empty() {
        return;
    }
    let index = world.resource::<DocumentIndex>();
    let wanted: Vec<(Entity, Refused)> = refused
        .iter()
        .filter_map(|(collection, id, refused)| Some((index.entity(collection, id)?, refused.clone())))
        .collect();
    let gone: Vec<Entity> =
        marked.iter().copied().filter(|entity| wanted.iter().all(|(wanted, _)| wanted != entity)).collect();
    for entity in gone {
        if let Ok(mut entity) = world.get_entity_mut(entity) {
            entity.remove::<Refused>();
        }
    }
    marked.clear();
    for (entity, refused) in wanted {
        marked.push(entity);
        if let Ok(mut entity) = world.get_entity_mut(entity)
            && entity.get::<Refused>() != Some(&refused)
        {
            entity.insert(refused);
        }
    }
    let mut status = world.resource_mut::<SyncStatus>();
    if status.refused != count {
        status.refused = count;
    }
}
