//! The worker's findings about edits: it compares each with the value that the entity had shown.

use std::collections::VecDeque;

use crate::record::EditSeq;

/// Edits of a document that are not compared yet are remembered one by one up to this number. Beyond it, the newest
/// ones share a place.
const UNTOLD: usize = 32;

/// The findings about the edits of a document.
#[derive(Default)]
pub(crate) struct Compared {
    /// The last edit that changed something.
    changed: EditSeq,
    /// The last edit that changed nothing.
    unchanged: EditSeq,
    /// Edits that are not compared yet.
    untold: VecDeque<Untold>,
}

/// Edits that are not compared yet, from one to another.
struct Untold {
    first: EditSeq,
    last: EditSeq,
    /// The components whose change must be announced.
    components: u32,
}

impl Compared {
    /// Notes that an edit was sent. If it changes one of these components, that must be announced.
    pub(super) fn sent(&mut self, capture: EditSeq, mask: u32) {
        if mask == 0 {
            return;
        }
        let is_full = self.untold.len() >= UNTOLD;
        match self.untold.back_mut() {
            Some(newest) if is_full => {
                newest.last = capture;
                newest.components |= mask;
            }
            _ => self.untold.push_back(Untold { first: capture, last: capture, components: mask }),
        }
    }

    /// The last of `captures` edits that a version has to include to be shown. If the newest edit that was compared
    /// changed nothing (the app touches the component and changes nothing), the edits after it count as the same. If
    /// one of them is an edit after all, the next version shows it.
    pub(super) fn wanted(&self, captures: EditSeq) -> EditSeq {
        if self.unchanged > self.changed { self.changed } else { captures }
    }

    /// Notes that an edit was compared. Returns the components whose change must be announced.
    pub(super) fn compared(&mut self, capture: EditSeq, is_change: bool) -> u32 {
        let newest = if is_change { &mut self.changed } else { &mut self.unchanged };
        *newest = capture.max(*newest);
        let found = self.untold.iter().find(|untold| (untold.first..=untold.last).contains(&capture));
        let components = found.map_or(0, |untold| untold.components);
        self.untold.retain(|untold| untold.last > capture);
        if is_change { components } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_announced_with_the_components_that_were_captured() {
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
    fn edits_that_a_worker_never_compares_take_bounded_room() {
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
