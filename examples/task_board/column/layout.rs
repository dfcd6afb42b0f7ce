//! Which cards of a column are shown, and where.
//!
//! Cards out of sight only need a height. The heights are computed once, for some cards in each frame, and kept.

use std::{collections::HashMap, sync::Arc};

use bevy_convex_replicate::prelude::*;
use bevy_egui::egui::Painter;

use crate::{
    card,
    theme::{CARD_GAP, Palette},
    view::{CardView, ColumnView},
};

/// Cards out of sight that are laid out in one frame, at some 10 us each.
const LAID_OUT_PER_FRAME: usize = 100;

/// The cards of a column that are shown, and how high they are.
#[derive(Default)]
pub struct ColumnLayout {
    revision: u64,
    pub width: f32,
    pub search: String,
    /// The cards that the search finds.
    pub cards: Vec<Arc<CardView>>,
    pub heights: Vec<f32>,
    /// Whether a height is laid out and not estimated.
    exact: Vec<bool>,
    /// How many heights from the top are exact.
    exact_until: usize,
    /// Where each card starts; one more for the end.
    pub tops: Vec<f32>,
}

impl ColumnLayout {
    /// Takes the changes of the column. Heights of unchanged cards are kept.
    pub fn follow(&mut self, column: &ColumnView, width: f32, search: &str) {
        #[expect(clippy::float_cmp, reason = "the same width is the same number")]
        let same_width = self.width == width;
        if self.revision == column.revision && same_width && self.search == search {
            return;
        }
        let known: HashMap<*const CardView, f32> = if same_width {
            let exact = self.cards.iter().zip(&self.heights).zip(&self.exact).filter(|(_, exact)| **exact);
            exact.map(|((card, height), _)| (Arc::as_ptr(card), *height)).collect()
        } else {
            HashMap::new()
        };
        self.cards = column.cards.iter().filter(|card| is_found(card, search)).cloned().collect();
        self.heights.clear();
        self.exact.clear();
        for card in &self.cards {
            let height = known.get(&Arc::as_ptr(card)).copied();
            self.exact.push(height.is_some());
            self.heights.push(height.unwrap_or_else(|| card::estimate(card, width)));
        }
        self.exact_until = 0;
        self.revision = column.revision;
        self.width = width;
        search.clone_into(&mut self.search);
        self.sum();
    }

    fn sum(&mut self) {
        self.tops.clear();
        let mut top = 0.0;
        for height in &self.heights {
            self.tops.push(top);
            top += height + CARD_GAP;
        }
        self.tops.push(top);
    }

    /// Lays out the visible cards, and some more. Returns whether all cards are laid out.
    pub fn lay_out(&mut self, painter: &Painter, look: &Palette, visible: std::ops::Range<usize>) -> bool {
        let mut budget = LAID_OUT_PER_FRAME;
        let mut changed = false;
        let mut measure = |layout: &mut Self, i: usize| {
            let height = card::layout(painter, look, &layout.cards[i], layout.width).height;
            changed |= (height - layout.heights[i]).abs() > 0.01;
            layout.heights[i] = height;
            layout.exact[i] = true;
        };
        for i in visible {
            if !self.exact[i] {
                measure(self, i);
            }
        }
        while budget > 0 && self.exact_until < self.cards.len() {
            if !self.exact[self.exact_until] {
                measure(self, self.exact_until);
                budget -= 1;
            }
            self.exact_until += 1;
        }
        if changed {
            self.sum();
        }
        self.exact_until == self.cards.len()
    }

    pub fn position(&self, id: &DocumentId) -> Option<usize> {
        self.cards.iter().position(|card| card.id == *id)
    }
}

fn is_found(card: &CardView, search: &str) -> bool {
    search.is_empty() || card.title.to_lowercase().contains(search) || card.notes.to_lowercase().contains(search)
}

/// The index among all of a column's cards that a place among those shown stands for.
pub fn index_of(
    column: &ColumnView,
    layouts: &HashMap<DocumentId, ColumnLayout>,
    carried: &DocumentId,
    shown: usize,
) -> usize {
    let others = || column.cards.iter().filter(|card| card.id != *carried);
    let next = layouts
        .get(&column.id)
        .and_then(|layout| layout.cards.iter().filter(|card| card.id != *carried).nth(shown).cloned());
    next.and_then(|next| others().position(|card| card.id == next.id)).unwrap_or_else(|| others().count())
}
