//! What the worker found when it compared an edit with what the entity had shown: whether it was one.

use std::collections::VecDeque;

use bevy::prelude::*;

use super::{collections::Collections, component::Change, index::DocumentIndex};
use crate::{
    DocumentKey,
    message::ChangeKind,
    record::{Capture, Origin},
};

/// Edits of a document that are not compared yet are remembered one by one up to here. Then the newest take each
/// other's place.
const UNTOLD: usize = 32;

/// What is known of the edits of a document.
#[derive(Default)]
pub(crate) struct Compared {
    /// The last edit that changed something.
    changed: Capture,
    /// The last that did not.
    unchanged: Capture,
    /// Edits on their way, from one to another, and the components of which a change is to be told.
    untold: VecDeque<(Capture, Capture, u32)>,
}

impl Compared {
    /// An edit is on its way; what it changes of these components is told when that is known.
    pub(super) fn sent(&mut self, capture: Capture, mask: u32) {
        if mask == 0 {
            return;
        }
        let is_full = self.untold.len() >= UNTOLD;
        match self.untold.back_mut() {
            Some((_, last, components)) if is_full => {
                *last = capture;
                *components |= mask;
            }
            _ => self.untold.push_back((capture, capture, mask)),
        }
    }

    /// The last of `captures` edits that a version has to include to be shown. If the newest that was compared was none
    /// (the app touches the component and changes nothing), those on their way are taken for the same: one that is an
    /// edit after all is shown with the next version.
    pub(super) fn wanted(&self, captures: Capture) -> Capture {
        if self.unchanged > self.changed { self.changed } else { captures }
    }

    /// An edit was compared. Gives the components of which a change is to be told if it was one.
    fn compared(&mut self, capture: Capture, is_change: bool) -> u32 {
        let newest = if is_change { &mut self.changed } else { &mut self.unchanged };
        *newest = capture.max(*newest);
        let found = self.untold.iter().find(|(first, last, _)| (*first..=*last).contains(&capture));
        let components = found.map_or(0, |(.., components)| *components);
        self.untold.retain(|(_, last, _)| *last > capture);
        if is_change { components } else { 0 }
    }
}

/// The worker compared an edit: the app is told of it if it was one.
pub(super) fn compared(world: &mut World, document: &DocumentKey, capture: Capture, fields: &[String]) {
    let mut index = world.resource_mut::<DocumentIndex>();
    let Some(slot) = index.find(document.collection, &document.id) else { return };
    let entry = index.entry_mut(slot);
    let components = entry.compared.compared(capture, !fields.is_empty());
    // A deletion was told already, and nothing is told after it.
    if components == 0 || entry.is_deleted() {
        return;
    }
    let entity = entry.entity;
    let Some(registered) = world.resource::<Collections>().get(document.collection) else { return };
    let form = registered.form.clone();
    let DocumentKey { collection, id } = document.clone();
    let change = Change { collection, id, entity, kind: ChangeKind::Updated, origin: Origin::Local };
    form.announce(&mut world.into(), form.owners(fields) & components, &change);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_with_the_components_that_were_captured() {
        let mut compared = Compared::default();
        compared.sent(1, 0b01);
        compared.sent(2, 0b10);
        compared.sent(3, 0b11);
        assert_eq!(compared.compared(1, true), 0b01);
        assert_eq!(compared.compared(2, false), 0);
        assert_eq!(compared.compared(3, true), 0b11);
        assert!(compared.untold.is_empty());
    }

    #[test]
    fn what_a_worker_never_answers_takes_no_more_room() {
        let mut compared = Compared::default();
        (1..1_000).for_each(|capture| compared.sent(capture, 1 << (capture % 3)));
        assert_eq!(compared.untold.len(), UNTOLD);
        assert_eq!(compared.compared(500, true), 0b111);
        assert_eq!(compared.compared(999, true), 0b111);
        assert!(compared.untold.is_empty());
    }

    #[test]
    fn edits_on_their_way_count_unless_the_last_one_changed_nothing() {
        let mut compared = Compared::default();
        assert_eq!(compared.wanted(4), 4);
        compared.compared(3, true);
        compared.compared(4, false);
        assert_eq!(compared.wanted(6), 3);
        compared.compared(5, true);
        assert_eq!(compared.wanted(6), 6);
    }
}
