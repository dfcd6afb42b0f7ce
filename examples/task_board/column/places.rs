//! The cards that are not where the column's layout has them, while a card is carried or edited.

use bevy_egui::egui::Rangef;

use super::layout::ColumnLayout;
use crate::{
    desk::{Desk, Drag},
    theme::CARD_GAP,
    view::ColumnView,
};

/// The search above a pointer ignores cards higher than this: a higher card gets its place a little late.
const HIGHEST_CARD: f32 = 800.0;

/// A carried card has left its place and gets one where it hovers. An edited card is higher or lower than before.
#[derive(Clone, Copy, Default)]
pub struct Places {
    /// The card in the hand, if it is of this column, and its height with the gap below it.
    pub gone: Option<(usize, f32)>,
    /// The other card before which a card would land here, and its height.
    pub landing: Option<(usize, f32)>,
    /// The card that is edited, and how much higher it is for that.
    pub edited: Option<(usize, f32)>,
}

impl Places {
    pub fn new(column: &ColumnView, layout: &ColumnLayout, desk: &Desk) -> Self {
        let carried = desk.drag.as_ref().and_then(|drag| Some((drag.card()?, drag)));
        let gone = carried.and_then(|(card, _)| layout.position(card)).map(|i| (i, layout.heights[i] + CARD_GAP));
        let landing = carried.and_then(|(_, drag)| {
            let (target, index) = drag.target.as_ref()?;
            (*target == column.id).then_some((*index, drag.size.y))
        });
        let editor = desk.editor.as_ref();
        let edited = editor
            .and_then(|editor| Some((layout.position(&editor.card)?, editor.height)))
            .map(|(i, height)| (i, height - layout.heights[i]));
        Self { gone, landing, edited }
    }

    pub fn is_empty(&self, layout: &ColumnLayout) -> bool {
        layout.cards.len() == usize::from(self.gone.is_some()) && self.landing.is_none()
    }

    /// The height of all cards together.
    pub fn height(&self, layout: &ColumnLayout) -> f32 {
        let edited = self.edited.map_or(0.0, |(_, extra)| extra);
        layout.tops.last().copied().unwrap_or(0.0) - self.gone_height() + self.landing_height() + edited
    }

    /// The cards that may be in sight.
    pub fn in_sight(&self, layout: &ColumnLayout, viewport: Rangef) -> std::ops::Range<usize> {
        let edited = self.edited.map_or(0.0, |(_, extra)| extra.abs());
        let slack = self.gone_height() + self.landing_height() + edited;
        let first = layout.tops.partition_point(|top| *top < viewport.min - slack - 200.0).saturating_sub(1);
        let end = layout.tops.partition_point(|top| *top < viewport.max + slack).min(layout.cards.len());
        first..end
    }

    pub fn is_gone(&self, i: usize) -> bool {
        self.gone.is_some_and(|(gone, _)| gone == i)
    }

    pub fn is_edited(&self, i: usize) -> bool {
        self.edited.is_some_and(|(edited, _)| edited == i)
    }

    /// The distance that a card moves for the carried one.
    pub fn shift(&self, i: usize) -> f32 {
        let closes = if self.is_below_gone(i) { self.gone_height() } else { 0.0 };
        let opens = if self.landing.is_some_and(|(index, _)| index <= self.among_others(i)) {
            self.landing_height()
        } else {
            0.0
        };
        opens - closes
    }

    /// The distance that a card moves down for the edited one, and its additional height.
    pub fn stretch(&self, i: usize) -> (f32, f32) {
        match self.edited {
            Some((edited, extra)) if edited < i => (extra, 0.0),
            Some((edited, extra)) if edited == i => (0.0, extra),
            _ => (0.0, 0.0),
        }
    }

    /// Where the gap for the card in the hand starts, and how high it is.
    pub fn gap(&self, layout: &ColumnLayout) -> Option<(f32, f32)> {
        let (index, height) = self.landing?;
        let shown = index + usize::from(self.gone.is_some_and(|(gone, _)| gone <= index));
        let closed = if self.is_below_gone(shown) { self.gone_height() } else { 0.0 };
        Some((layout.tops[shown.min(layout.tops.len() - 1)] - closed, height))
    }

    /// Before which of the others a card would land whose middle is at `middle`: in the gap that is nearest to it,
    /// were there one between any two.
    pub fn nearest_gap(&self, layout: &ColumnLayout, drag: &Drag, middle: f32) -> usize {
        let is_passed = |i: usize| {
            let closed = if self.is_below_gone(i) { self.gone_height() } else { 0.0 };
            layout.tops[i] - closed + (drag.size.y + layout.heights[i] + CARD_GAP) / 2.0 < middle
        };
        // A place to start from, without going through ten thousand.
        let near = layout.tops.partition_point(|top| *top < middle - HIGHEST_CARD).saturating_sub(1);
        let passed = (near..layout.cards.len()).filter(|i| !self.is_gone(*i)).take_while(|i| is_passed(*i));
        self.among_others(near) + passed.count()
    }

    /// The index of a card among those that are not in the hand.
    fn among_others(&self, i: usize) -> usize {
        i - usize::from(self.is_below_gone(i))
    }

    fn is_below_gone(&self, i: usize) -> bool {
        self.gone.is_some_and(|(gone, _)| gone < i)
    }

    fn gone_height(&self) -> f32 {
        self.gone.map_or(0.0, |(_, height)| height)
    }

    fn landing_height(&self) -> f32 {
        self.landing.map_or(0.0, |(_, height)| height + CARD_GAP)
    }
}
