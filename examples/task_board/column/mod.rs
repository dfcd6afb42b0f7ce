//! A column: its head, the cards in sight, and the place to add one. Only cards in sight are drawn.

mod composer;
mod head;
mod layout;
mod places;

use bevy_egui::egui::{
    CornerRadius, Painter, Rect, ScrollArea, Sense, Stroke, StrokeKind, Ui, UiBuilder, Vec2, epaint::RectShape, pos2,
    vec2,
};

use self::places::Places;
pub use self::{
    head::paint_title,
    layout::{ColumnLayout, index_of},
};
use crate::{
    action::Action,
    card,
    desk::Desk,
    editor,
    theme::{CARD_GAP, Palette},
    view::{ColumnView, STRAYS},
};

const HEAD: f32 = 46.0;
const FOOT: f32 = 44.0;
const COMPOSER: f32 = 112.0;
const MARGIN: f32 = 10.0;
const EMPTY: f32 = 64.0;
/// Seconds that cards take to make way for the one in the hand.
const MAKING_WAY: f32 = 0.12;

/// Draws a column within `lane`, as high as it needs to be.
pub fn show(ui: &mut Ui, look: &Palette, column: &ColumnView, lane: Rect, desk: &mut Desk, actions: &mut Vec<Action>) {
    let is_real = column.id.as_str() != STRAYS;
    let mut layout = desk.layouts.remove(&column.id).unwrap_or_default();
    layout.follow(column, lane.width() - 2.0 * MARGIN, &desk.search.trim().to_lowercase());
    let places = Places::new(column, &layout, desk);

    let content = if places.is_empty(&layout) { EMPTY } else { places.height(&layout) };
    let is_composing = desk.composer.as_ref().is_some_and(|composer| composer.column == column.id);
    let foot = match (is_real, is_composing) {
        (false, _) => 2.0,
        (true, true) => COMPOSER,
        (true, false) => FOOT,
    };
    let height = (HEAD + content + foot).min(lane.height());
    let rect = Rect::from_min_size(lane.min, vec2(lane.width(), height));
    let list = Rect::from_min_max(pos2(rect.left(), rect.top() + HEAD), pos2(rect.right(), rect.bottom() - foot));

    if ui.rect_contains_pointer(lane) && is_real {
        desk.hovered = Some(column.id.clone());
    }
    paint_ground(ui.painter(), look, rect, places.landing.is_some());
    head::show(ui, look, column, &layout, Rect::from_min_size(rect.min, vec2(rect.width(), HEAD)), desk, actions);

    let mut child = ui.new_child(UiBuilder::new().id_salt(("cards", column.id.as_str())).max_rect(list));
    let mut scroll = ScrollArea::vertical().id_salt(column.id.as_str()).auto_shrink(false).animated(false);
    if let Some((id, frames)) = &mut desk.scroll_to_end
        && *id == column.id
    {
        scroll = scroll.vertical_scroll_offset((content - list.height()).max(0.0));
        *frames -= 1;
        if *frames == 0 {
            desk.scroll_to_end = None;
        }
        ui.ctx().request_repaint();
    }
    scroll.show_viewport(&mut child, |ui, viewport| {
        ui.set_height(content);
        let origin = pos2(list.left() + MARGIN, ui.min_rect().top());
        if places.is_empty(&layout) {
            let text = if desk.search.trim().is_empty() { "Drop a card here" } else { "Nothing found here" };
            let place = Rect::from_min_size(origin, vec2(layout.width, EMPTY - CARD_GAP));
            card::paint_empty(ui.painter(), place, text, look.ink_faint);
        }
        // A carried card pulls the list along when it is held near an end of it.
        if let Some(drag) = desk.drag.as_ref().filter(|drag| drag.card().is_some() && lane.contains(drag.pointer)) {
            let speed = edge_speed(drag.pointer.y, list.top(), list.bottom());
            if speed != 0.0 && content > list.height() {
                ui.scroll_with_delta(vec2(0.0, speed));
                ui.ctx().request_repaint();
            }
        }
        let in_sight = places.in_sight(&layout, viewport.y_range());
        let is_laid_out = layout.lay_out(ui.painter(), look, in_sight.clone());
        desk.is_settled &= is_laid_out;
        if !is_laid_out {
            ui.ctx().request_repaint();
        }
        for i in in_sight {
            let card = layout.cards[i].clone();
            if places.is_gone(i) {
                // Its widget stays, out of the way, so that egui knows the drag goes on.
                ui.interact(Rect::from_min_size(origin, Vec2::ZERO), card::id(&card), Sense::click_and_drag());
                continue;
            }
            let moving = if desk.drag.is_some() { MAKING_WAY } else { 0.0 };
            let shift = ui.ctx().animate_value_with_time(card::id(&card).with("shift"), places.shift(i), moving);
            let (lower, higher) = places.stretch(i);
            let corner = origin + vec2(0.0, layout.tops[i] + shift + lower);
            let place = Rect::from_min_size(corner, vec2(layout.width, layout.heights[i] + higher));
            if places.is_edited(i) {
                editor::show(ui, look, &card, place, desk, actions);
            } else {
                card::show(ui, look, &card, place, desk, actions);
            }
        }
        if let Some((top, height)) = places.gap(&layout) {
            let gap = Rect::from_min_size(origin + vec2(0.0, top), vec2(layout.width, height));
            card::paint_gap(ui.painter(), look, gap);
        }
        if let Some(drag) = &mut desk.drag
            && drag.card().is_some()
            && is_real
            && lane.x_range().contains(drag.pointer.x)
        {
            let middle = drag.pointer.y - drag.grip.y + drag.size.y / 2.0 - origin.y;
            drag.next = Some((column.id.clone(), places.nearest_gap(&layout, drag, middle)));
        }
    });
    if content > list.height() + 1.0 {
        // The list goes on under this line.
        let y = list.bottom();
        ui.painter().hline(list.x_range().shrink(MARGIN), y, Stroke::new(1.0, look.line));
    }
    if is_real {
        let foot = Rect::from_min_max(pos2(rect.left(), rect.bottom() - foot), rect.max).shrink2(vec2(MARGIN, 6.0));
        if is_composing {
            composer::show(ui, look, column, foot, desk, actions);
        } else {
            composer::button(ui, look, column, foot, desk);
        }
    }
    desk.layouts.insert(column.id.clone(), layout);
}

/// The speed of scrolling for a pointer at `at`: within 48 points of an end, it rises towards the end.
pub fn edge_speed(at: f32, low: f32, high: f32) -> f32 {
    const EDGE: f32 = 48.0;
    const FASTEST: f32 = 14.0;
    if at < low + EDGE {
        FASTEST * ((low + EDGE - at) / EDGE).min(1.0)
    } else if at > high - EDGE {
        -FASTEST * ((at - high + EDGE) / EDGE).min(1.0)
    } else {
        0.0
    }
}

/// The ground of a column, which shows whether a card would land on it.
pub fn paint_ground(painter: &Painter, look: &Palette, rect: Rect, is_target: bool) {
    let line = if is_target { look.accent.gamma_multiply(0.5) } else { look.column };
    painter.add(RectShape::new(rect, CornerRadius::same(14), look.column, Stroke::new(1.0, line), StrokeKind::Inside));
}
