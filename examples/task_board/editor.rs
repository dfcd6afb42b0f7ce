//! A card being edited, in its place on the board.
//!
//! Each typed letter goes into the document, and letters that others type into the same card appear between them. The
//! field always shows the document, so there is no draft that could overwrite an edit of others.

use bevy_convex_replicate::prelude::*;
use bevy_egui::egui::{
    self, CornerRadius, Frame, Id, Key, KeyboardShortcut, Margin, Modifiers, Rect, Sense, Stroke, StrokeKind, TextEdit,
    Ui, UiBuilder, Vec2, epaint::RectShape, text::CCursor, text::CCursorRange, text_selection::CCursorRange as Range,
    vec2,
};

use crate::{
    action::Action,
    card::{self, PADDING, TEXT_LEFT},
    desk::Desk,
    icons::{self, Icon},
    model::Tint,
    theme::{self, CARD_RADIUS, Palette},
    view::CardView,
    widgets::{self, Weight},
};

/// The card being edited.
pub struct Editor {
    pub card: DocumentId,
    /// The texts when the editor was opened, for Escape.
    opened: (String, String),
    /// As this window last wrote or saw it.
    title: Field,
    notes: Field,
    take_focus: bool,
    /// The height when it was last drawn.
    pub height: f32,
}

/// A text being typed.
struct Field {
    /// The text in this window. The typed text may be one frame ahead of the document.
    text: String,
    /// The document's, when it was last looked at.
    seen: String,
    touched_by_others: bool,
}

impl Field {
    fn new(text: &str) -> Self {
        Self { text: text.to_owned(), seen: text.to_owned(), touched_by_others: false }
    }

    /// Takes the document's text, and keeps the cursor between the same letters.
    fn follow(&mut self, context: &egui::Context, id: Id, text: &str) {
        if self.seen == text {
            return;
        }
        text.clone_into(&mut self.seen);
        if self.text == text {
            return;
        }
        if let Some(mut state) = egui::text_edit::TextEditState::load(context, id) {
            if let Some(range) = state.cursor.char_range() {
                let moved = |cursor: CCursor| CCursor::new(follow_cursor(&self.text, text, cursor.index.0));
                state.cursor.set_char_range(Some(CCursorRange::two(moved(range.secondary), moved(range.primary))));
            }
            state.store(context, id);
        }
        self.touched_by_others = true;
        text.clone_into(&mut self.text);
    }
}

/// Where a cursor goes when a text becomes another: it stays before the letter it was before.
fn follow_cursor(old: &str, new: &str, cursor: usize) -> usize {
    let (old, new): (Vec<char>, Vec<char>) = (old.chars().collect(), new.chars().collect());
    let start = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    if cursor <= start {
        return cursor.min(new.len());
    }
    let rest = old.len().min(new.len()) - start;
    let end = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    if cursor >= old.len() - end {
        return (new.len() + cursor).saturating_sub(old.len());
    }
    // The cursor was in the replaced text.
    new.len() - end
}

impl Editor {
    pub fn open(card: &CardView) -> Self {
        Self {
            card: card.id.clone(),
            opened: (card.title.clone(), card.notes.clone()),
            title: Field::new(&card.title),
            notes: Field::new(&card.notes),
            take_focus: true,
            height: 190.0,
        }
    }

    /// Adds the actions that undo the text typed here, in fields that no other user edited.
    fn take_back(&self, card: &CardView, actions: &mut Vec<Action>) {
        let (title, notes) = &self.opened;
        if !self.title.touched_by_others && card.title != *title {
            actions.push(Action::RetitleCard { id: card.id.clone(), title: title.clone() });
        }
        if !self.notes.touched_by_others && card.notes != *notes {
            actions.push(Action::NoteCard { id: card.id.clone(), notes: notes.clone() });
        }
    }
}

/// Draws the card being edited.
pub fn show(ui: &mut Ui, look: &Palette, card: &CardView, rect: Rect, desk: &mut Desk, actions: &mut Vec<Action>) {
    let Some(mut editor) = desk.editor.take() else { return };
    let radius = CornerRadius::same(CARD_RADIUS);
    ui.painter().add(look.high_shadow().as_shape(rect, radius));
    ui.painter().add(RectShape::new(rect, radius, look.card, Stroke::new(1.5, look.accent), StrokeKind::Inside));
    // Clicks must not reach anything under the editor.
    ui.interact(rect, card::id(card).with("editor"), Sense::click());

    let inner = rect.shrink2(PADDING);
    let builder = UiBuilder::new().id_salt(("editor", card.id.as_str())).max_rect(inner);
    let mut ui = ui.new_child(builder);
    let ui = &mut ui;
    ui.spacing_mut().item_spacing = vec2(6.0, 6.0);
    let mut is_open = true;

    let title_id = Id::new(("title", card.id.as_str()));
    let notes_id = Id::new(("notes", card.id.as_str()));
    editor.title.follow(ui.ctx(), title_id, &card.title);
    editor.notes.follow(ui.ctx(), notes_id, &card.notes);

    let line_break = KeyboardShortcut::new(Modifiers::SHIFT, Key::Enter);
    let title = ui
        .horizontal_top(|ui| {
            let (tick_rect, tick) = ui.allocate_exact_size(Vec2::splat(card::TICK_RADIUS * 2.0), Sense::click());
            let center = tick_rect.center() + vec2(0.0, 1.0);
            let done = f32::from(u8::from(card.is_done));
            icons::tick_box(ui.painter(), center, card::TICK_RADIUS, done, tick.hovered(), look.line_strong, look.good);
            if tick.clicked() {
                actions.push(Action::CompleteCard { id: card.id.clone(), is_done: !card.is_done });
            }
            ui.add_space(TEXT_LEFT - PADDING.x - card::TICK_RADIUS * 2.0 - 6.0);
            TextEdit::multiline(&mut editor.title.text)
                .id(title_id)
                .frame(Frame::NONE)
                .font(theme::medium(14.0))
                .hint_text("Title")
                .desired_rows(1)
                .desired_width(f32::INFINITY)
                .return_key(line_break)
                .show(ui)
                .response
                .response
        })
        .inner;
    if editor.take_focus {
        title.request_focus();
        let end = CCursor::new(editor.title.text.chars().count());
        let mut state = egui::text_edit::TextEditState::load(ui.ctx(), title_id).unwrap_or_default();
        state.cursor.set_char_range(Some(Range::one(end)));
        state.store(ui.ctx(), title_id);
        editor.take_focus = false;
    }
    if title.changed() {
        actions.push(Action::RetitleCard { id: card.id.clone(), title: editor.title.text.clone() });
    }
    let notes = Frame::NONE
        .fill(look.ground)
        .corner_radius(7)
        .inner_margin(Margin::symmetric(9, 7))
        .show(ui, |ui| {
            TextEdit::multiline(&mut editor.notes.text)
                .id(notes_id)
                .frame(Frame::NONE)
                .font(theme::body(13.0))
                .hint_text("Notes")
                .desired_rows(3)
                .desired_width(f32::INFINITY)
                .show(ui)
                .response
                .response
        })
        .inner;
    if notes.changed() {
        actions.push(Action::NoteCard { id: card.id.clone(), notes: editor.notes.text.clone() });
    }
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 1.0;
        for tint in Tint::ALL {
            let is_chosen = card.label == Some(tint);
            if swatch(ui, look, tint, is_chosen).clicked() {
                let label = (!is_chosen).then_some(tint);
                actions.push(Action::LabelCard { id: card.id.clone(), label });
            }
        }
    });
    ui.horizontal(|ui| {
        if widgets::icon_button(ui, look, Icon::Trash, "Delete (can be undone)").clicked() {
            actions.push(Action::DeleteCard { id: card.id.clone() });
            is_open = false;
        }
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if widgets::button(ui, look, "Done", None, Weight::Primary).clicked() {
                is_open = false;
            }
        });
    });
    editor.height = ui.min_rect().bottom() - rect.top() + PADDING.y;

    // Asked before the input is: egui lends itself to one at a time.
    let in_title = title.has_focus() || title.lost_focus();
    let clip = ui.clip_rect();
    let (enter, escape, elsewhere) = ui.input(|input| {
        let pressed = input.pointer.any_pressed().then(|| input.pointer.interact_pos()).flatten();
        let elsewhere = pressed.is_some_and(|pos| !rect.contains(pos) && clip.contains(pos));
        let enter = input.key_pressed(Key::Enter) && !input.modifiers.shift && (in_title || input.modifiers.command);
        (enter, input.key_pressed(Key::Escape), elsewhere)
    });
    if escape {
        editor.take_back(card, actions);
        is_open = false;
    }
    if enter || elsewhere {
        is_open = false;
    }
    if is_open {
        desk.editor = Some(editor);
    }
}

/// A colour to choose.
pub fn swatch(ui: &mut Ui, look: &Palette, tint: Tint, is_chosen: bool) -> egui::Response {
    let (rect, response) = ui.allocate_exact_size(Vec2::splat(26.0), Sense::click());
    let color = tint.color();
    let radius = if response.hovered() { 9.5 } else { 8.5 };
    ui.painter().circle_filled(rect.center(), radius, color);
    if is_chosen {
        icons::draw(ui.painter(), Icon::Check, rect, 11.0, egui::Color32::WHITE);
        ui.painter().circle_stroke(rect.center(), 11.5, Stroke::new(1.5, look.deep(color)));
    }
    response.on_hover_cursor(egui::CursorIcon::PointingHand)
}

#[cfg(test)]
mod tests {
    use super::follow_cursor;

    #[test]
    fn a_cursor_stays_between_the_same_letters() {
        // Inserted before it, behind it, and at it.
        assert_eq!(follow_cursor("board", "the board", 2), 6);
        assert_eq!(follow_cursor("board", "boards", 2), 2);
        assert_eq!(follow_cursor("ab", "axb", 1), 1);
        // Removed before it, and around it.
        assert_eq!(follow_cursor("the board", "board", 6), 2);
        assert_eq!(follow_cursor("abcdef", "af", 3), 1);
        assert_eq!(follow_cursor("", "new", 0), 0);
        assert_eq!(follow_cursor("old", "", 3), 0);
        assert_eq!(follow_cursor("aé", "xaé", 2), 3);
    }
}
