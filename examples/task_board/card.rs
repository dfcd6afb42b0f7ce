//! A card, in its column and while it is carried.

use std::sync::Arc;

use bevy_egui::egui::{
    Color32, CornerRadius, CursorIcon, Galley, Id, Painter, Pos2, Rect, Sense, Stroke, StrokeKind, Ui, Vec2,
    epaint::RectShape,
    pos2,
    text::{LayoutJob, TextFormat, TextWrapping},
    vec2,
};

use crate::{
    action::Action,
    desk::{Desk, Drag, Dragged},
    editor::Editor,
    icons::{self, Icon},
    theme::{self, CARD_RADIUS, Palette},
    view::CardView,
    widgets,
};

pub const PADDING: Vec2 = vec2(12.0, 11.0);
pub const TICK_RADIUS: f32 = 8.5;
/// From the card's edge to its text: the tick box comes first.
pub const TEXT_LEFT: f32 = PADDING.x + 2.0 * TICK_RADIUS + 9.0;
const TEXT_RIGHT: f32 = 14.0;
const LABEL: Vec2 = vec2(30.0, 4.0);
const LABEL_GAP: f32 = 8.0;
const NOTES_GAP: f32 = 4.0;
const TITLE_ROWS: usize = 5;
const NOTES_ROWS: usize = 2;

/// A card's text, laid out for a width.
pub struct Layout {
    title: Arc<Galley>,
    notes: Option<Arc<Galley>>,
    pub height: f32,
}

/// Lays out a card's text. egui keeps it for the next frame.
pub fn layout(painter: &Painter, look: &Palette, card: &CardView, width: f32) -> Layout {
    let text_width = width - TEXT_LEFT - TEXT_RIGHT;
    let ink = if card.is_done || card.title.trim().is_empty() { look.ink_faint } else { look.ink };
    let mut format = TextFormat::simple(theme::medium(14.0), ink);
    format.line_height = Some(19.0);
    if card.is_done {
        format.strikethrough = Stroke::new(1.0, look.ink_faint);
    }
    let title = if card.title.trim().is_empty() { "Untitled" } else { card.title.trim() };
    let title = painter.layout_job(job(title, format, text_width, TITLE_ROWS));
    let mut height = PADDING.y * 2.0 + title.size().y;
    if card.label.is_some() {
        height += LABEL.y + LABEL_GAP;
    }
    let notes = (!card.notes.trim().is_empty() && !card.is_done).then(|| {
        let mut format = TextFormat::simple(theme::body(12.5), look.ink_soft);
        format.line_height = Some(17.0);
        // Long notes are not laid out to be thrown away.
        let start: String = card.notes.trim().chars().take(160).map(|c| if c == '\n' { ' ' } else { c }).collect();
        painter.layout_job(job(&start, format, text_width, NOTES_ROWS))
    });
    if let Some(notes) = &notes {
        height += NOTES_GAP + notes.size().y;
    }
    Layout { title, notes, height: height.round() }
}

fn job(text: &str, format: TextFormat, width: f32, rows: usize) -> LayoutJob {
    let mut job = LayoutJob::single_section(text.to_owned(), format);
    job.wrap = TextWrapping { max_width: width, max_rows: rows, ..TextWrapping::default() };
    job
}

/// About how high a card is, for those out of sight that have not been laid out yet.
pub fn estimate(card: &CardView, width: f32) -> f32 {
    let per_row = ((width - TEXT_LEFT - TEXT_RIGHT) / 7.2).max(8.0);
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let rows = |text: &str, most: usize| (text.len() as f32 / per_row).ceil().clamp(1.0, most as f32);
    let mut height = PADDING.y * 2.0 + 19.0 * rows(&card.title, TITLE_ROWS);
    if card.label.is_some() {
        height += LABEL.y + LABEL_GAP;
    }
    if !card.notes.is_empty() && !card.is_done {
        height += NOTES_GAP + 17.0 * rows(&card.notes, NOTES_ROWS);
    }
    height
}

/// Draws a card. `lift` is 0 on the board and 1 in the hand.
pub fn paint(painter: &Painter, look: &Palette, card: &CardView, layout: &Layout, rect: Rect, state: &Look) {
    let radius = CornerRadius::same(CARD_RADIUS);
    let shadow = if state.lifted { look.high_shadow() } else { look.card_shadow() };
    painter.add(shadow.as_shape(rect, radius));
    let line = if state.hovered || state.lifted { look.line_strong } else { look.line };
    painter.add(RectShape::new(rect, radius, look.card, Stroke::new(1.0, line), StrokeKind::Inside));
    let mut y = rect.top() + PADDING.y;
    let text_left = rect.left() + TEXT_LEFT;
    if let Some(label) = card.label {
        let bar = Rect::from_min_size(pos2(rect.left() + PADDING.x, y), LABEL);
        let color = if card.is_done { look.wash(label.color()) } else { label.color() };
        painter.rect_filled(bar, CornerRadius::same(2), color);
        y += LABEL.y + LABEL_GAP;
    }
    icons::tick_box(
        painter,
        tick_center(rect, card),
        TICK_RADIUS,
        state.done,
        state.tick_hovered,
        look.line_strong,
        look.good,
    );
    painter.galley(pos2(text_left, y), layout.title.clone(), look.ink);
    y += layout.title.size().y;
    if let Some(notes) = &layout.notes {
        painter.galley(pos2(text_left, y + NOTES_GAP), notes.clone(), look.ink_soft);
    }
}

/// The appearance of a card, apart from its text.
#[derive(Default)]
pub struct Look {
    pub lifted: bool,
    pub hovered: bool,
    pub tick_hovered: bool,
    /// From 0 to 1.
    pub done: f32,
}

/// The middle of the round box, beside the title's first line.
pub fn tick_center(rect: Rect, card: &CardView) -> Pos2 {
    let label = if card.label.is_some() { LABEL.y + LABEL_GAP } else { 0.0 };
    pos2(rect.left() + PADDING.x + TICK_RADIUS, rect.top() + PADDING.y + label + 9.5)
}

pub fn id(card: &CardView) -> Id {
    Id::new(("card", card.id.as_str()))
}

/// Draws a card on the board and returns the user's action.
pub fn show(ui: &mut Ui, look: &Palette, card: &CardView, rect: Rect, desk: &mut Desk, actions: &mut Vec<Action>) {
    let id = id(card);
    let response = ui.interact(rect, id, Sense::click_and_drag());
    let tick_rect = Rect::from_center_size(tick_center(rect, card), Vec2::splat(TICK_RADIUS * 2.0 + 10.0));
    let tick = ui.interact(tick_rect, id.with("tick"), Sense::click());
    let is_hovered = desk.drag.is_none() && (response.hovered() || tick.hovered() || response.has_focus());
    let layout = layout(ui.painter(), look, card, rect.width());
    let done = ui.ctx().animate_bool_with_time(id.with("done"), card.is_done, 0.15);
    let state = Look { lifted: false, hovered: is_hovered, tick_hovered: tick.hovered() && desk.drag.is_none(), done };
    paint(ui.painter(), look, card, &layout, rect, &state);

    let bin_rect = Rect::from_min_size(pos2(rect.right() - 32.0, rect.top() + 5.0), Vec2::splat(26.0));
    let bin_id = id.with("bin");
    let near = desk.drag.is_none() && ui.rect_contains_pointer(rect);
    if near {
        ui.painter().rect_filled(bin_rect, CornerRadius::same(8), look.card);
        if widgets::icon_button_at(ui, look, Icon::Trash, bin_rect, bin_id, "Delete (can be undone)").clicked() {
            actions.push(Action::DeleteCard { id: card.id.clone() });
            return;
        }
    }
    if tick.on_hover_text(if card.is_done { "Not done after all" } else { "Done" }).clicked() {
        actions.push(Action::CompleteCard { id: card.id.clone(), is_done: !card.is_done });
    }
    if response.hovered() && desk.drag.is_none() {
        ui.ctx().set_cursor_icon(CursorIcon::PointingHand);
    }
    if response.clicked() {
        desk.editor = Some(Editor::open(card));
        desk.composer = None;
    }
    if response.drag_started()
        && let Some(pointer) = ui.input(|input| input.pointer.press_origin())
    {
        desk.editor = None;
        desk.drag = Some(Drag::new(Dragged::Card(card.id.clone()), rect, pointer));
    }
}

/// The place a card would land in.
pub fn paint_gap(painter: &Painter, look: &Palette, rect: Rect) {
    let fill = look.accent.gamma_multiply(if look.dark { 0.18 } else { 0.09 });
    let line = Stroke::new(1.0, look.accent.gamma_multiply(0.45));
    painter.rect(rect, CornerRadius::same(CARD_RADIUS), fill, line, StrokeKind::Inside);
}

/// A hint in the middle of an empty column.
pub fn paint_empty(painter: &Painter, rect: Rect, text: &str, color: Color32) {
    let galley = painter.layout_no_wrap(text.to_owned(), theme::body(12.5), color);
    painter.galley(theme::centered(rect, galley.size()), galley, color);
}
