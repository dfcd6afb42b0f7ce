//! Marks entities whose documents the deployment refuses.

use bevy::prelude::*;

use super::index::DocumentIndex;
use crate::message::{Refused, RefusedDocuments, SyncStatus};

/// Brings the marks into step with the refused documents. There are few of either.
pub(super) fn mark(world: &mut World, marked: &mut Vec<Entity>) {
    let count = world.resource::<RefusedDocuments>().len();
    if world.resource::<SyncStatus>().refused != count {
        world.resource_mut::<SyncStatus>().refused = count;
    }
    if count == 0 && marked.is_empty() {
        return;
    }
    let refused = world.resource::<RefusedDocuments>();
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
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::{CollectionIndex, DocumentId, DocumentKey, record::RefusalCode};

    #[test]
    fn a_refused_document_that_no_entity_shows_is_counted_as_long_as_it_is_refused() {
        let mut world = World::new();
        world.init_resource::<RefusedDocuments>();
        world.init_resource::<DocumentIndex>();
        world.init_resource::<SyncStatus>();
        let document = DocumentKey { collection: CollectionIndex(0), id: DocumentId::new("a") };
        let refused = Refused::new(SystemTime::UNIX_EPOCH, RefusalCode::NotAuthorized, "no");
        let mut marked = Vec::new();
        for (refused, count) in [(Some(refused), 1), (None, 0)] {
            world.resource_mut::<RefusedDocuments>().set(document.clone(), refused);
            mark(&mut world, &mut marked);
            assert_eq!(world.resource::<SyncStatus>().refused, count);
        }
    }
}
