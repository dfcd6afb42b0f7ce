//! The head of a column: its name, its menu, and the handle to carry it by.

use bevy_egui::egui::{
    CornerRadius, CursorIcon, Frame, Id, Key, Margin, Painter, Popup, PopupCloseBehavior, Rect, Response, Sense,
    Stroke, StrokeKind, TextEdit, Ui, Vec2, pos2,
    text::{LayoutJob, TextWrapping},
    vec2,
};

use super::{MARGIN, layout::ColumnLayout};
use crate::{
    action::Action,
    desk::{Desk, Drag, Dragged, Renaming},
    editor,
    icons::{self, Icon},
    model::Tint,
    theme::{self, Palette},
    view::{ColumnView, STRAYS},
    widgets,
};

/// A column's name and count, as they are on the board and in the hand.
pub fn paint_title(painter: &Painter, look: &Palette, column: &ColumnView, count: &str, rect: Rect) {
    let dot = pos2(rect.left() + MARGIN + 8.0, rect.center().y + 1.0);
    painter.circle_filled(dot, 4.5, column.tint.color());
    let title = if column.title.trim().is_empty() { "Untitled" } else { column.title.trim() };
    let mut job = LayoutJob::simple_singleline(title.to_owned(), theme::semibold(14.0), look.ink);
    job.wrap = TextWrapping::truncate_at_width(rect.width() - 130.0);
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

pub fn show(
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
        desk.drag = Some(Drag::new(Dragged::Column(column.id.clone()), rect, pointer));
    }
    let dots = Rect::from_center_size(pos2(rect.right() - 25.0, rect.center().y + 1.0), Vec2::splat(28.0));
    let button = widgets::icon_button_at(ui, look, Icon::Dots, dots, id.with("menu"), "Rename, colour, move, delete");
    menu(&button, look, column, desk, actions);
}

fn menu(button: &Response, look: &Palette, column: &ColumnView, desk: &mut Desk, actions: &mut Vec<Action>) {
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
fn item(ui: &mut Ui, look: &Palette, icon: Icon, text: &str) -> Response {
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
