//! The foot of a column, where a card is added.

use bevy_egui::egui::{
    Align, CornerRadius, CursorIcon, Frame, Id, Key, Layout, Margin, Rect, ScrollArea, Sense, Stroke, StrokeKind,
    TextEdit, Ui, UiBuilder, Vec2, pos2, vec2,
};

use crate::{
    action::Action,
    desk::{Composer, Desk},
    icons::{self, Icon},
    theme::{self, Palette},
    view::ColumnView,
    widgets::{self, Weight},
};

/// Frames until a card that was added is surely in the view, and can be scrolled to.
const NEW_CARD_FRAMES: u8 = 4;

/// The button that opens the composer.
pub fn button(ui: &mut Ui, look: &Palette, column: &ColumnView, rect: Rect, desk: &mut Desk) {
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

/// Where the title of a new card is typed.
pub fn show(ui: &mut Ui, look: &Palette, column: &ColumnView, rect: Rect, desk: &mut Desk, actions: &mut Vec<Action>) {
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
    ui.scope_builder(UiBuilder::new().max_rect(row).layout(Layout::left_to_right(Align::Center)), |ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        let clicked = widgets::button(ui, look, "Add card", None, Weight::Primary).clicked();
        if clicked {
            add = true;
            response.request_focus();
        }
        close |= widgets::button(ui, look, "Cancel", None, Weight::Quiet).clicked();
    });
    if add && !composer.text.trim().is_empty() {
        let title = std::mem::take(&mut composer.text);
        actions.push(Action::AddCard { column: column.id.clone(), title, index: None });
        desk.scroll_to_end = Some((column.id.clone(), NEW_CARD_FRAMES));
    }
    if !close {
        desk.composer = Some(composer);
    }
}
