//! The state of this window: open editors, typed text, drags and scroll positions. It is not shared, and it is lost
//! when the window closes.

use std::collections::HashMap;

use bevy_convex_replicate::prelude::*;
use bevy_egui::egui::{Pos2, Rect, Vec2};

use crate::{column::ColumnLayout, editor::Editor};

#[derive(Default)]
pub struct Desk {
    pub dark: bool,
    pub search: String,
    pub focus_search: bool,
    pub composer: Option<Composer>,
    pub editor: Option<Editor>,
    pub renaming: Option<Renaming>,
    /// The title of a column being added.
    pub new_column: Option<String>,
    pub drag: Option<Drag>,
    /// The column under the pointer, where `N` adds a card.
    pub hovered: Option<DocumentId>,
    /// A column to scroll to its last card, for that many frames.
    pub scroll_to_end: Option<(DocumentId, u8)>,
    pub layouts: HashMap<DocumentId, ColumnLayout>,
    pub toast: Option<Toast>,
    /// The columns from left to right.
    pub column_order: Vec<DocumentId>,
    /// The person's name while it is being typed.
    pub my_name: Option<String>,
    /// Since when there have been edits that are not saved or sent.
    pub busy_since: Option<f64>,
    /// Whether everything visible has its final size.
    pub is_settled: bool,
}

/// A card being added.
pub struct Composer {
    pub column: DocumentId,
    pub text: String,
    pub take_focus: bool,
}

/// A column being renamed.
pub struct Renaming {
    pub column: DocumentId,
    pub text: String,
    pub take_focus: bool,
}

/// Something on its way to another place.
#[derive(Clone)]
pub struct Drag {
    pub what: Dragged,
    /// From its corner to the pointer.
    pub grip: Vec2,
    pub size: Vec2,
    pub pointer: Pos2,
    /// Where it would have landed in the last frame, where there is a gap for it now: a column and the index of the
    /// card shown there that it comes before.
    pub target: Option<(DocumentId, usize)>,
    /// Where it would land now.
    pub next: Option<(DocumentId, usize)>,
}

#[derive(Clone, PartialEq)]
pub enum Dragged {
    Card(DocumentId),
    Column(DocumentId),
}

impl Drag {
    /// Starts to drag the thing at `rect`, gripped at `pointer`.
    pub fn new(what: Dragged, rect: Rect, pointer: Pos2) -> Self {
        Self { what, grip: pointer - rect.min, size: rect.size(), pointer, target: None, next: None }
    }

    pub fn card(&self) -> Option<&DocumentId> {
        match &self.what {
            Dragged::Card(id) => Some(id),
            Dragged::Column(_) => None,
        }
    }

    pub fn column(&self) -> Option<&DocumentId> {
        match &self.what {
            Dragged::Column(id) => Some(id),
            Dragged::Card(_) => None,
        }
    }
}

/// A word at the bottom of the window, for some seconds.
pub struct Toast {
    pub text: String,
    pub can_undo: bool,
    /// When it goes, in egui's seconds; `None`: not yet shown.
    pub until: Option<f64>,
}
