//! A column: its head, the cards in sight, and the place to add one.
//!
//! Only cards in sight are drawn. What is needed of the others is their height, which is laid out once, some each frame, and kept.

use std::{collections::HashMap, sync::Arc};

use bevy_convex_replicate::prelude::*;
use bevy_egui::egui::{
    Align, CornerRadius, CursorIcon, Frame, Id, Key, Margin, Painter, Popup, PopupCloseBehavior, Rect, ScrollArea,
    Sense, Stroke, StrokeKind, TextEdit, Ui, UiBuilder, Vec2, epaint::RectShape, pos2, vec2,
};

use crate::{
    action::Action,
    card,
    desk::{Composer, Desk, Drag, Dragged, Renaming},
    editor,
    icons::{self, Icon},
    model::Tint,
    theme::{self, CARD_GAP, Palette},
    view::{CardView, ColumnView, STRAYS},
    widgets::{self, Weight},
};

const HEAD: f32 = 46.0;
const FOOT: f32 = 44.0;
const COMPOSER: f32 = 112.0;
const MARGIN: f32 = 10.0;
const EMPTY: f32 = 64.0;
/// Frames until a card that was added is surely in the view, and can be scrolled to.
const NEW_CARD_FRAMES: u8 = 4;
/// Cards out of sight that are laid out in one frame, at some 10 us each.
const LAID_OUT_PER_FRAME: usize = 100;

/// The cards of a column that are shown, and how high they are.
#[derive(Default)]
pub struct ColumnLayout {
    revision: u64,
    width: f32,
    search: String,
    /// Those that the search finds.
    cards: Vec<Arc<CardView>>,
    heights: Vec<f32>,
    /// Whether a height is laid out and not estimated.
    exact: Vec<bool>,
    /// How many are, from the top.
    exact_until: usize,
    /// Where each card starts; one more for the end.
    tops: Vec<f32>,
}

impl ColumnLayout {
    /// Takes what changed of the column. Heights of cards that did not change are kept.
    fn follow(&mut self, column: &ColumnView, width: f32, search: &str) {
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

    /// Lays out what is in sight, and some more. Returns whether all is laid out.
    fn lay_out(&mut self, painter: &Painter, look: &Palette, visible: std::ops::Range<usize>) -> bool {
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

    fn position(&self, id: &DocumentId) -> Option<usize> {
        self.cards.iter().position(|card| card.id == *id)
    }
}

fn is_found(card: &CardView, search: &str) -> bool {
    search.is_empty() || card.title.to_lowercase().contains(search) || card.notes.to_lowercase().contains(search)
}

/// Draws a column within `lane`, as high as it needs to be.
pub fn show(ui: &mut Ui, look: &Palette, column: &ColumnView, lane: Rect, desk: &mut Desk, actions: &mut Vec<Action>) {
    let is_real = column.id.as_str() != STRAYS;
    let width = lane.width() - 2.0 * MARGIN;
    let mut layout = desk.layouts.remove(&column.id).unwrap_or_default();
    layout.follow(column, width, &desk.search.trim().to_lowercase());

    // What is in the hand leaves its place, and gets one where it hovers.
    let carried = desk.drag.as_ref().and_then(|drag| Some((drag.card()?, drag)));
    let gone = carried.and_then(|(card, _)| layout.position(card));
    let gone_height = gone.map_or(0.0, |i| layout.heights[i] + CARD_GAP);
    let landing = carried.and_then(|(_, drag)| {
        let (target, index) = drag.target.as_ref()?;
        (*target == column.id).then_some((*index, drag.size.y))
    });
    let landing_height = landing.map_or(0.0, |(_, height)| height + CARD_GAP);
    let edited = desk.editor.as_ref().and_then(|editor| Some((layout.position(&editor.card)?, editor.height)));
    let edited_extra = edited.map_or(0.0, |(i, height)| height - layout.heights[i]);

    let total = layout.tops.last().copied().unwrap_or(0.0) - gone_height + landing_height + edited_extra;
    let is_empty = layout.cards.len() - usize::from(gone.is_some()) == 0 && landing.is_none();
    let content = if is_empty { EMPTY } else { total };
    let is_composing = desk.composer.as_ref().is_some_and(|composer| composer.column == column.id);
    let foot = match (is_real, is_composing) {
        (false, _) => 2.0,
        (true, true) => COMPOSER,
        (true, false) => FOOT,
    };
    let height = (HEAD + content + foot).min(lane.height());
    let rect = Rect::from_min_size(lane.min, vec2(lane.width(), height));

    if ui.rect_contains_pointer(lane) && is_real {
        desk.hovered = Some(column.id.clone());
    }
    paint_ground(ui.painter(), look, rect, landing.is_some());
    head(ui, look, column, &layout, Rect::from_min_size(rect.min, vec2(rect.width(), HEAD)), desk, actions);

    let list = Rect::from_min_max(pos2(rect.left(), rect.top() + HEAD), pos2(rect.right(), rect.bottom() - foot));
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
        if is_empty {
            let text = if desk.search.trim().is_empty() { "Drop a card here" } else { "Nothing found here" };
            let place = Rect::from_min_size(origin, vec2(width, EMPTY - CARD_GAP));
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
        let slack = gone_height + landing_height + edited_extra.abs();
        let first = layout.tops.partition_point(|top| *top < viewport.top() - slack - 200.0).saturating_sub(1);
        let end = layout.tops.partition_point(|top| *top < viewport.bottom() + slack).min(layout.cards.len());
        let is_laid_out = layout.lay_out(ui.painter(), look, first..end);
        desk.is_settled &= is_laid_out;
        if !is_laid_out {
            ui.ctx().request_repaint();
        }
        let moving = if desk.drag.is_some() { 0.12 } else { 0.0 };
        for i in first..end {
            let card = layout.cards[i].clone();
            if gone == Some(i) {
                // Its widget stays, out of the way, so that egui knows the drag goes on.
                ui.interact(Rect::from_min_size(origin, Vec2::ZERO), card::id(&card), Sense::click_and_drag());
                continue;
            }
            let among = i - usize::from(gone.is_some_and(|gone| gone < i));
            let mut shift = 0.0;
            if gone.is_some_and(|gone| gone < i) {
                shift -= gone_height;
            }
            if landing.is_some_and(|(index, _)| index <= among) {
                shift += landing_height;
            }
            let shift = ui.ctx().animate_value_with_time(card::id(&card).with("shift"), shift, moving);
            let extra = if edited.is_some_and(|(edited, _)| edited < i) { edited_extra } else { 0.0 };
            let is_edited = edited.is_some_and(|(edited, _)| edited == i);
            let own = layout.heights[i] + if is_edited { edited_extra } else { 0.0 };
            let place = Rect::from_min_size(origin + vec2(0.0, layout.tops[i] + shift + extra), vec2(width, own));
            if is_edited {
                editor::show(ui, look, &card, place, desk, actions);
            } else {
                card::show(ui, look, &card, place, desk, actions);
            }
        }
        if let Some((index, height)) = landing {
            let shown = index + usize::from(gone.is_some_and(|gone| gone <= index));
            let before_gone = gone.is_some_and(|gone| gone < shown);
            let top = layout.tops[shown.min(layout.tops.len() - 1)] - if before_gone { gone_height } else { 0.0 };
            card::paint_gap(ui.painter(), look, Rect::from_min_size(origin + vec2(0.0, top), vec2(width, height)));
        }
        // Where what is carried would go: into the gap that is nearest to it, were there one between any two.
        if let Some(drag) = &mut desk.drag
            && drag.card().is_some()
            && is_real
            && lane.x_range().contains(drag.pointer.x)
        {
            let middle = drag.pointer.y - drag.grip.y + drag.size.y / 2.0 - origin.y;
            let is_passed = |i: usize| {
                let left_behind = if gone.is_some_and(|gone| gone < i) { gone_height } else { 0.0 };
                let top = layout.tops[i] - left_behind;
                top + (drag.size.y + layout.heights[i] + CARD_GAP) / 2.0 < middle
            };
            // A place to start from, without going through ten thousand.
            let near = layout.tops.partition_point(|top| *top < middle - 800.0).saturating_sub(1);
            let mut index = near - usize::from(gone.is_some_and(|gone| gone < near));
            for i in (near..layout.cards.len()).filter(|i| Some(*i) != gone) {
                if !is_passed(i) {
                    break;
                }
                index += 1;
            }
            drag.next = Some((column.id.clone(), index));
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
            composer(ui, look, column, foot, desk, actions);
        } else {
            add_card(ui, look, column, foot, desk);
        }
    }
    desk.layouts.insert(column.id.clone(), layout);
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

/// How fast to scroll for a pointer at `at`: within 48 points of an end, the nearer the faster.
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

pub fn paint_ground(painter: &Painter, look: &Palette, rect: Rect, is_target: bool) {
    let line = if is_target { look.accent.gamma_multiply(0.5) } else { look.column };
    painter.add(RectShape::new(rect, CornerRadius::same(14), look.column, Stroke::new(1.0, line), StrokeKind::Inside));
}

/// A column's name and count, as they are on the board and in the hand.
pub fn paint_title(painter: &Painter, look: &Palette, column: &ColumnView, count: &str, rect: Rect) {
    let dot = pos2(rect.left() + MARGIN + 8.0, rect.center().y + 1.0);
    painter.circle_filled(dot, 4.5, column.tint.color());
    let title = if column.title.trim().is_empty() { "Untitled" } else { column.title.trim() };
    let mut job =
        bevy_egui::egui::text::LayoutJob::simple_singleline(title.to_owned(), theme::semibold(14.0), look.ink);
    job.wrap = bevy_egui::egui::text::TextWrapping::truncate_at_width(rect.width() - 130.0);
    let galley = painter.layout_job(job);
    let at = pos2(dot.x + 13.0, rect.center().y + 1.0 - galley.size().y / 2.0);
    let end = at.x + galley.size().x;
    painter.galley(at, galley, look.ink);
    let count = painter.layout_no_wrap(count.to_owned(), theme::medium(12.0), look.ink_faint);
    painter.galley(pos2(end + 9.0, rect.center().y + 1.5 - count.size().y / 2.0), count, look.ink_faint);
}

fn count(column: &ColumnView, layout: &ColumnLayout) -> String {
    let all = widgets::grouped(column.cards.len() as u64);
    if layout.search.is_empty() { all } else { format!("{} of {all}", widgets::grouped(layout.cards.len() as u64)) }
}

fn head(
    ui: &mut Ui,
    look: &Palette,
    column: &ColumnView,
    layout: &ColumnLayout,
    rect: Rect,
    desk: &mut Desk,
    actions: &mut Vec<Action>,
) {
    let id = Id::new(("column", column.id.as_str()));
    let is_real = column.id.as_str() != STRAYS;
    if desk.renaming.as_ref().is_some_and(|renaming| renaming.column == column.id) {
        rename(ui, look, rect, desk, actions);
        return;
    }
    let sense = if is_real { Sense::click_and_drag() } else { Sense::hover() };
    let response = ui.interact(rect, id, sense);
    paint_title(ui.painter(), look, column, &count(column, layout), rect);
    if !is_real {
        response.on_hover_text(
            "Their column was deleted while somebody was putting them there. Drag them where they belong.",
        );
        return;
    }
    if response.hovered() && desk.drag.is_none() {
        ui.ctx().set_cursor_icon(CursorIcon::Grab);
    }
    if response.double_clicked() {
        desk.renaming = Some(Renaming { column: column.id.clone(), text: column.title.clone(), take_focus: true });
    }
    if response.drag_started()
        && let Some(pointer) = ui.input(|input| input.pointer.press_origin())
    {
        desk.drag = Some(Drag {
            what: Dragged::Column(column.id.clone()),
            grip: pointer - rect.min,
            size: rect.size(),
            pointer,
            target: None,
            next: None,
        });
    }
    let dots = Rect::from_center_size(pos2(rect.right() - 25.0, rect.center().y + 1.0), Vec2::splat(28.0));
    let button = widgets::icon_button_at(ui, look, Icon::Dots, dots, id.with("menu"), "Rename, colour, move, delete");
    menu(&button, look, column, desk, actions);
}

fn menu(
    button: &bevy_egui::egui::Response,
    look: &Palette,
    column: &ColumnView,
    desk: &mut Desk,
    actions: &mut Vec<Action>,
) {
    Popup::menu(button).close_behavior(PopupCloseBehavior::CloseOnClick).show(|ui| {
        ui.set_width(8.0 * 26.0);
        if item(ui, look, Icon::Pencil, "Rename").clicked() {
            desk.renaming = Some(Renaming { column: column.id.clone(), text: column.title.clone(), take_focus: true });
        }
        let at = desk.column_order.iter().position(|id| *id == column.id);
        if let Some(at) = at.filter(|at| *at > 0)
            && item(ui, look, Icon::Left, "Move left").clicked()
        {
            actions.push(Action::MoveColumn { id: column.id.clone(), index: at - 1 });
        }
        if let Some(at) = at.filter(|at| at + 1 < desk.column_order.len())
            && item(ui, look, Icon::Right, "Move right").clicked()
        {
            actions.push(Action::MoveColumn { id: column.id.clone(), index: at + 1 });
        }
        if item(ui, look, Icon::Trash, "Delete").clicked() {
            actions.push(Action::DeleteColumn { id: column.id.clone() });
        }
        ui.separator();
        ui.horizontal(|ui| {
            ui.spacing_mut().item_spacing.x = 0.0;
            for tint in Tint::ALL {
                if editor::swatch(ui, look, tint, column.tint == tint).clicked() {
                    actions.push(Action::TintColumn { id: column.id.clone(), tint });
                }
            }
        });
    });
}

/// A line of a menu.
fn item(ui: &mut Ui, look: &Palette, icon: Icon, text: &str) -> bevy_egui::egui::Response {
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 32.0), Sense::click());
    if response.hovered() || response.has_focus() {
        ui.painter().rect_filled(rect, CornerRadius::same(7), look.hover);
    }
    let at = Rect::from_center_size(pos2(rect.left() + 17.0, rect.center().y), Vec2::splat(15.0));
    icons::draw(ui.painter(), icon, at, 15.0, look.ink_soft);
    let galley = ui.painter().layout_no_wrap(text.to_owned(), theme::medium(13.5), look.ink);
    ui.painter().galley(pos2(rect.left() + 34.0, rect.center().y - galley.size().y / 2.0), galley, look.ink);
    response
}

fn rename(ui: &mut Ui, look: &Palette, rect: Rect, desk: &mut Desk, actions: &mut Vec<Action>) {
    let Some(mut renaming) = desk.renaming.take() else { return };
    let field = rect.shrink2(vec2(MARGIN, 8.0));
    ui.painter().rect(field, CornerRadius::same(8), look.card, Stroke::new(1.5, look.accent), StrokeKind::Inside);
    let edit = TextEdit::singleline(&mut renaming.text)
        .id(Id::new("rename column"))
        .font(theme::semibold(14.0))
        .frame(Frame::NONE.inner_margin(Margin::symmetric(8, 5)))
        .char_limit(80);
    let response = ui.put(field, edit);
    if renaming.take_focus {
        response.request_focus();
        renaming.take_focus = false;
    }
    let escape = ui.input(|input| input.key_pressed(Key::Escape));
    if escape {
        return;
    }
    if response.lost_focus() {
        if !renaming.text.trim().is_empty() {
            actions.push(Action::RenameColumn { id: renaming.column, title: renaming.text });
        }
        return;
    }
    desk.renaming = Some(renaming);
}

fn add_card(ui: &mut Ui, look: &Palette, column: &ColumnView, rect: Rect, desk: &mut Desk) {
    let response = ui.interact(rect, Id::new(("add card", column.id.as_str())), Sense::click());
    let hot = desk.drag.is_none() && (response.hovered() || response.has_focus());
    if hot {
        ui.painter().rect_filled(rect, CornerRadius::same(8), look.hover);
        ui.ctx().set_cursor_icon(CursorIcon::PointingHand);
    }
    let ink = if hot { look.ink } else { look.ink_soft };
    let plus = Rect::from_center_size(pos2(rect.left() + 16.0, rect.center().y), Vec2::splat(13.0));
    icons::draw(ui.painter(), Icon::Plus, plus, 13.0, ink);
    let galley = ui.painter().layout_no_wrap("Add a card".to_owned(), theme::medium(13.0), ink);
    ui.painter().galley(pos2(rect.left() + 31.0, rect.center().y - galley.size().y / 2.0), galley, ink);
    if response.clicked() {
        desk.composer = Some(Composer { column: column.id.clone(), text: String::new(), take_focus: true });
        desk.editor = None;
    }
}

fn composer(ui: &mut Ui, look: &Palette, column: &ColumnView, rect: Rect, desk: &mut Desk, actions: &mut Vec<Action>) {
    let Some(mut composer) = desk.composer.take() else { return };
    let field = Rect::from_min_size(rect.min, vec2(rect.width(), 56.0));
    ui.painter().add(look.card_shadow().as_shape(field, CornerRadius::same(10)));
    ui.painter().rect(field, CornerRadius::same(10), look.card, Stroke::new(1.5, look.accent), StrokeKind::Inside);
    let edit = TextEdit::multiline(&mut composer.text)
        .id(Id::new("new card"))
        .font(theme::medium(14.0))
        .frame(Frame::NONE.inner_margin(Margin::symmetric(12, 9)))
        .hint_text("What is to be done?")
        .desired_rows(2)
        .return_key(None);
    let response = ui
        .scope_builder(UiBuilder::new().max_rect(field), |ui| {
            ui.shrink_clip_rect(field);
            ScrollArea::vertical()
                .id_salt("new card")
                .stick_to_bottom(true)
                .show(ui, |ui| ui.add_sized(field.size() - vec2(0.0, 2.0), edit))
        })
        .inner
        .inner;
    if composer.take_focus {
        response.request_focus();
        composer.take_focus = false;
    }
    let mut add = ui.input(|input| input.key_pressed(Key::Enter)) && response.has_focus();
    let mut close = ui.input(|input| input.key_pressed(Key::Escape));
    let row = Rect::from_min_max(pos2(rect.left(), field.bottom() + 8.0), rect.max);
    ui.scope_builder(
        UiBuilder::new().max_rect(row).layout(bevy_egui::egui::Layout::left_to_right(Align::Center)),
        |ui| {
            ui.spacing_mut().item_spacing.x = 4.0;
            let clicked = widgets::button(ui, look, "Add card", None, Weight::Primary).clicked();
            if clicked {
                add = true;
                response.request_focus();
            }
            close |= widgets::button(ui, look, "Cancel", None, Weight::Quiet).clicked();
        },
    );
    if add && !composer.text.trim().is_empty() {
        let title = std::mem::take(&mut composer.text);
        actions.push(Action::AddCard { column: column.id.clone(), title, index: None });
        desk.scroll_to_end = Some((column.id.clone(), NEW_CARD_FRAMES));
    }
    if !close {
        desk.composer = Some(composer);
    }
}
