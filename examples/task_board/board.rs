//! The whole window: the bar, the notices, and the columns side by side.

use bevy_egui::egui::{
    self, CornerRadius, CursorIcon, Frame, Id, Key, LayerId, Margin, Modifiers, Order, Rect, ScrollArea, Sense, Stroke,
    StrokeKind, TextEdit, Ui, UiBuilder, Vec2, pos2, vec2,
};

use crate::{
    action::Action,
    card, column,
    desk::{Composer, Desk, Dragged},
    header,
    icons::{self, Icon},
    notice,
    theme::{self, COLUMN_GAP, COLUMN_WIDTH, Palette},
    view::{BoardView, STRAYS},
};

/// Draws the board and returns the user's actions.
pub fn show(context: &egui::Context, board: &BoardView, desk: &mut Desk) -> Vec<Action> {
    let look = if desk.dark { Palette::DARK } else { Palette::LIGHT };
    let mut actions = Vec::new();
    desk.is_settled = board.is_ready;
    desk.hovered = None;
    desk.column_order =
        board.columns.iter().map(|column| column.id.clone()).filter(|id| id.as_str() != STRAYS).collect();
    desk.layouts.retain(|id, _| board.columns.iter().any(|column| column.id == *id));
    if desk.editor.as_ref().is_some_and(|editor| board.card(&editor.card).is_none()) {
        // Somebody deleted it.
        desk.editor = None;
    }
    let screen = context.viewport_rect();
    let root = UiBuilder::new().layer_id(LayerId::background()).max_rect(screen);
    let mut root = Ui::new(context.clone(), Id::new("board"), root);
    root.painter().rect_filled(screen, CornerRadius::ZERO, look.ground);

    header::show(&mut root, &look, board, desk, &mut actions);
    notice::banners(&mut root, &look, board, &mut actions);
    carry(context, desk);
    egui::CentralPanel::no_frame().show(&mut root, |ui| {
        if board.columns.is_empty() && desk.new_column.is_none() {
            notice::empty_board(ui, &look, board, desk, &mut actions);
        } else {
            lanes(ui, &look, board, desk, &mut actions);
        }
    });
    in_hand(context, &look, board, desk);
    drop_it(context, board, desk, &mut actions);
    notice::toast(context, &look, desk, &mut actions);
    keys(context, desk, &mut actions);
    actions
}

/// The place where a column is added.
const NEW_COLUMN: Vec2 = vec2(220.0, 46.0);
/// The widest a column gets: longer lines are harder to read.
const WIDEST: f32 = 380.0;

/// The width of columns. The columns of a small board use all of the room.
fn lane_width(available: f32, columns: usize) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "few columns")]
    let columns = columns.max(3) as f32;
    let room = available - NEW_COLUMN.x - COLUMN_GAP * 3.0;
    (room / columns - COLUMN_GAP).clamp(COLUMN_WIDTH, WIDEST).floor()
}

fn lanes(ui: &mut Ui, look: &Palette, board: &BoardView, desk: &mut Desk, actions: &mut Vec<Action>) {
    let area = ui.max_rect();
    let width = lane_width(area.width(), board.columns.len());
    ScrollArea::horizontal().id_salt("columns").auto_shrink(false).show_viewport(ui, |ui, viewport| {
        let origin = ui.min_rect().min + vec2(COLUMN_GAP + 4.0, COLUMN_GAP);
        let height = area.height() - COLUMN_GAP * 2.0;
        let step = width + COLUMN_GAP;
        #[expect(clippy::cast_precision_loss, reason = "few columns")]
        let left = |i: usize| i as f32 * step;
        ui.set_min_size(vec2(left(board.columns.len()) + NEW_COLUMN.x + COLUMN_GAP * 2.0, area.height()));

        let carried = desk.drag.as_ref().and_then(|drag| drag.column().cloned());
        let from = carried.as_ref().and_then(|id| board.columns.iter().position(|column| column.id == *id));
        if let (Some(drag), Some(_)) = (&mut desk.drag, &carried) {
            // The place a carried column would take: strays stay first.
            let strays = usize::from(board.columns.first().is_some_and(|column| column.id.as_str() == STRAYS));
            let middle = drag.pointer.x - drag.grip.x + width / 2.0 - origin.x;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
            let index = (middle / step).floor().clamp(0.0, 1e6) as usize;
            let last = board.columns.len() - 1;
            let index = index.clamp(strays, last.max(strays)) - strays;
            drag.next = carried.clone().map(|id| (id, index));
            let landing = Rect::from_min_size(origin + vec2(left(index + strays), 0.0), vec2(width, 120.0));
            card::paint_gap(ui.painter(), look, landing);
        }
        if let Some(drag) = &desk.drag {
            let speed = column::edge_speed(drag.pointer.x, area.left(), area.right());
            if speed != 0.0 {
                ui.scroll_with_delta(vec2(speed, 0.0));
                ui.ctx().request_repaint();
            }
        }
        let to = desk.drag.as_ref().filter(|_| from.is_some()).and_then(|drag| drag.target.as_ref().map(|(_, i)| *i));
        let moving = if carried.is_some() { 0.14 } else { 0.0 };
        let strays = usize::from(board.columns.first().is_some_and(|column| column.id.as_str() == STRAYS));
        for (i, column) in board.columns.iter().enumerate() {
            let mut place = i;
            if let (Some(from), Some(to)) = (from, to) {
                let to = to + strays;
                if i == from {
                    let id = Id::new(("column", column.id.as_str()));
                    ui.interact(Rect::from_min_size(origin, Vec2::ZERO), id, Sense::click_and_drag());
                    continue;
                }
                let among = i - usize::from(from < i);
                place = among + usize::from(to <= among && i >= strays);
            }
            let id = Id::new(("lane", column.id.as_str()));
            let x = ui.ctx().animate_value_with_time(id, left(place), moving);
            if x > viewport.right() + step || x + width < viewport.left() - step {
                // Out of sight.
                continue;
            }
            let lane = Rect::from_min_size(origin + vec2(x, 0.0), vec2(width, height));
            column::show(ui, look, column, lane, desk, actions);
        }
        let place = Rect::from_min_size(origin + vec2(left(board.columns.len()), 0.0), NEW_COLUMN);
        add_column(ui, look, place, desk, actions);
        if board.card_count() == 0 && board.is_ready && desk.drag.is_none() {
            notice::empty_columns(ui, look, area, desk, actions);
        }
    });
}

fn add_column(ui: &mut Ui, look: &Palette, rect: Rect, desk: &mut Desk, actions: &mut Vec<Action>) {
    let Some(mut title) = desk.new_column.take() else {
        let response = ui.interact(rect, Id::new("add column"), Sense::click());
        let hot = desk.drag.is_none() && (response.hovered() || response.has_focus());
        let fill = if hot { look.hover } else { look.column.gamma_multiply(0.55) };
        ui.painter().rect_filled(rect, CornerRadius::same(14), fill);
        let ink = if hot { look.ink } else { look.ink_soft };
        let plus = Rect::from_center_size(pos2(rect.left() + 23.0, rect.center().y), Vec2::splat(13.0));
        icons::draw(ui.painter(), Icon::Plus, plus, 13.0, ink);
        let galley = ui.painter().layout_no_wrap("Add a column".to_owned(), theme::medium(13.5), ink);
        ui.painter().galley(pos2(rect.left() + 40.0, rect.center().y - galley.size().y / 2.0), galley, ink);
        if response.on_hover_cursor(CursorIcon::PointingHand).clicked() {
            desk.new_column = Some(String::new());
        }
        return;
    };
    ui.painter().rect(rect, CornerRadius::same(14), look.card, Stroke::new(1.5, look.accent), StrokeKind::Inside);
    let id = Id::new("new column");
    let is_new = ui.ctx().read_response(id).is_none();
    let edit = TextEdit::singleline(&mut title)
        .id(id)
        .font(theme::semibold(14.0))
        .frame(Frame::NONE.inner_margin(Margin::symmetric(14, 13)))
        .char_limit(80)
        .hint_text("Name of the column");
    let response = ui.put(rect, edit);
    if is_new {
        response.request_focus();
        response.scroll_to_me(None);
    }
    if ui.input(|input| input.key_pressed(Key::Escape)) {
        return;
    }
    if response.lost_focus() {
        if !title.trim().is_empty() {
            actions.push(Action::AddColumn { title });
        }
        return;
    }
    desk.new_column = Some(title);
}

/// Moves the held card or column with the pointer.
fn carry(context: &egui::Context, desk: &mut Desk) {
    let escape = context.input(|input| input.key_pressed(Key::Escape));
    if escape && desk.drag.take().is_some() {
        context.stop_dragging();
    }
    if let Some(drag) = &mut desk.drag {
        if let Some(pointer) = context.pointer_latest_pos() {
            drag.pointer = pointer;
        }
        drag.target = drag.next.take();
        context.set_cursor_icon(CursorIcon::Grabbing);
        context.request_repaint();
    }
}

/// Draws the held card or column above everything.
fn in_hand(context: &egui::Context, look: &Palette, board: &BoardView, desk: &Desk) {
    let Some(drag) = &desk.drag else { return };
    let painter = context.layer_painter(LayerId::new(Order::Tooltip, Id::new("in hand")));
    let corner = drag.pointer - drag.grip;
    match &drag.what {
        Dragged::Card(id) => {
            let Some(shown) = board.card(id) else { return };
            let layout = card::layout(&painter, look, shown, drag.size.x);
            let done = f32::from(u8::from(shown.is_done));
            let rect = Rect::from_min_size(corner, vec2(drag.size.x, layout.height));
            let state = card::Look { lifted: true, hovered: true, tick_hovered: false, done };
            card::paint(&painter, look, shown, &layout, rect, &state);
        }
        Dragged::Column(id) => {
            let Some(shown) = board.column(id.as_str()) else { return };
            let rect = Rect::from_min_size(corner, vec2(drag.size.x, 150.0));
            painter.add(look.high_shadow().as_shape(rect, CornerRadius::same(14)));
            column::paint_ground(&painter, look, rect, true);
            let head = Rect::from_min_size(corner, drag.size);
            column::paint_title(&painter, look, shown, &shown.cards.len().to_string(), head);
            let mut top = head.bottom();
            let painter = painter.with_clip_rect(rect.shrink(1.0));
            for shown in shown.cards.iter().take(3) {
                let layout = card::layout(&painter, look, shown, drag.size.x - 20.0);
                let place = Rect::from_min_size(pos2(rect.left() + 10.0, top), vec2(drag.size.x - 20.0, layout.height));
                let done = f32::from(u8::from(shown.is_done));
                card::paint(&painter, look, shown, &layout, place, &card::Look { done, ..card::Look::default() });
                top += layout.height + theme::CARD_GAP;
            }
        }
    }
}

/// Drops the held card or column when the button is released.
fn drop_it(context: &egui::Context, board: &BoardView, desk: &mut Desk, actions: &mut Vec<Action>) {
    if desk.drag.is_none() || context.input(|input| input.pointer.primary_down()) {
        return;
    }
    let Some(drag) = desk.drag.take() else { return };
    let Some((target, index)) = drag.next else { return };
    match drag.what {
        Dragged::Card(id) => {
            let Some(column) = board.column(target.as_str()) else { return };
            let index = column::index_of(column, &desk.layouts, &id, index);
            actions.push(Action::MoveCard { id, column: target, index });
        }
        Dragged::Column(id) => actions.push(Action::MoveColumn { id, index }),
    }
}

fn keys(context: &egui::Context, desk: &mut Desk, actions: &mut Vec<Action>) {
    let find = context.input_mut(|input| input.consume_key(Modifiers::COMMAND, Key::F));
    if find {
        desk.focus_search = true;
    }
    if context.text_edit_focused() || desk.drag.is_some() {
        return;
    }
    let (new, slash, undo) = context.input_mut(|input| {
        (
            input.consume_key(Modifiers::NONE, Key::N),
            input.consume_key(Modifiers::NONE, Key::Slash),
            input.consume_key(Modifiers::COMMAND, Key::Z),
        )
    });
    if new && let Some(column) = desk.hovered.clone().or_else(|| desk.column_order.first().cloned()) {
        desk.composer = Some(Composer { column, text: String::new(), take_focus: true });
        desk.editor = None;
    }
    if slash {
        desk.focus_search = true;
    }
    if undo {
        actions.push(Action::Undo);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::bench::{Bench, card};
    use bevy_convex_replicate::prelude::DocumentId;
    use egui::Event;

    fn id(text: &str) -> DocumentId {
        DocumentId::new(text)
    }

    #[test]
    fn a_click_on_the_tick_box_completes_a_card() {
        let mut bench = Bench::with(&[("a", &["one", "two"])]);
        let tick = bench.center(card::id(&card("two", "a")).with("tick"));
        assert_eq!(bench.click(tick), [Action::CompleteCard { id: id("two"), is_done: true }]);
        assert!(bench.desk.editor.is_none());
    }

    #[test]
    fn a_card_can_be_carried_to_another_column() {
        let mut bench = Bench::with(&[("a", &["one", "two"]), ("b", &["three"])]);
        let (from, to) = (bench.center(card::id(&card("one", "a"))), bench.center(card::id(&card("three", "b"))));
        let above = bench.drag(from, to - vec2(0.0, 25.0));
        assert_eq!(above, [Action::MoveCard { id: id("one"), column: id("b"), index: 0 }]);
        let below = bench.drag(from, to + vec2(0.0, 25.0));
        assert_eq!(below, [Action::MoveCard { id: id("one"), column: id("b"), index: 1 }]);
        assert!(bench.desk.drag.is_none());
    }

    #[test]
    fn a_card_can_be_carried_down_its_column() {
        let mut bench = Bench::with(&[("a", &["one", "two", "three"])]);
        let (from, to) = (bench.center(card::id(&card("one", "a"))), bench.center(card::id(&card("two", "a"))));
        let actions = bench.drag(from, to + vec2(0.0, 8.0));
        assert_eq!(actions, [Action::MoveCard { id: id("one"), column: id("a"), index: 1 }]);
    }

    #[test]
    fn a_column_can_be_carried_past_another() {
        let mut bench = Bench::with(&[("a", &["one"]), ("b", &[]), ("c", &[])]);
        let head = |bench: &Bench, column: &str| bench.center(Id::new(("column", column)));
        let (from, to) = (head(&bench, "a"), head(&bench, "c"));
        assert_eq!(bench.drag(from, to), [Action::MoveColumn { id: id("a"), index: 2 }]);
    }

    #[test]
    fn escape_lets_go_of_what_is_carried() {
        let mut bench = Bench::with(&[("a", &["one"]), ("b", &["two"])]);
        let from = bench.center(card::id(&card("one", "a")));
        bench.frame(vec![Event::PointerMoved(from)]);
        bench.frame(vec![Bench::press(from, true)]);
        bench.frame(vec![Event::PointerMoved(from + vec2(200.0, 10.0))]);
        assert!(bench.desk.drag.is_some());
        bench.key(Key::Escape);
        assert!(bench.desk.drag.is_none());
        assert_eq!(bench.frame(vec![Bench::press(from + vec2(200.0, 10.0), false)]), []);
    }

    #[test]
    fn typing_in_a_card_edits_it_letter_by_letter_and_enter_closes_it() {
        let mut bench = Bench::with(&[("a", &["one"])]);
        let middle = bench.center(card::id(&card("one", "a")));
        bench.click(middle);
        bench.frame(Vec::new());
        let typed = bench.frame(vec![Event::Text("!".to_owned())]);
        assert_eq!(typed, [Action::RetitleCard { id: id("one"), title: "one!".to_owned() }]);
        assert_eq!(bench.key(Key::Enter), []);
        assert!(bench.desk.editor.is_none());
    }

    #[test]
    fn escape_takes_back_what_was_typed_unless_somebody_else_wrote_too() {
        for others_wrote in [false, true] {
            let mut bench = Bench::with(&[("a", &["one"])]);
            let middle = bench.center(card::id(&card("one", "a")));
            bench.click(middle);
            bench.frame(Vec::new());
            bench.frame(vec![Event::Text("!".to_owned())]);
            let title = if others_wrote { "all one!" } else { "one!" };
            let shown = Arc::make_mut(&mut bench.board.columns[0].cards[0]);
            shown.title = title.to_owned();
            bench.board.columns[0].revision = 2;
            bench.frame(Vec::new());
            let actions = bench.key(Key::Escape);
            let back = Action::RetitleCard { id: id("one"), title: "one".to_owned() };
            assert_eq!(actions, if others_wrote { vec![] } else { vec![back] });
            assert!(bench.desk.editor.is_none());
        }
    }

    #[test]
    fn n_writes_a_card_and_enter_adds_it() {
        let mut bench = Bench::with(&[("a", &[]), ("b", &["one"])]);
        let over = bench.center(card::id(&card("one", "b")));
        bench.frame(vec![Event::PointerMoved(over)]);
        bench.key(Key::N);
        bench.frame(Vec::new());
        bench.frame(vec![Event::Text("Buy milk".to_owned())]);
        let added = bench.key(Key::Enter);
        assert_eq!(added, [Action::AddCard { column: id("b"), title: "Buy milk".to_owned(), index: None }]);
        assert!(bench.desk.composer.is_some(), "ready for the next");
        bench.key(Key::Escape);
        assert!(bench.desk.composer.is_none());
    }

    #[test]
    fn a_search_shows_what_it_finds() {
        let mut bench = Bench::with(&[("a", &["apples", "pears"])]);
        bench.desk.search = " APPL".to_owned();
        bench.frame(Vec::new());
        bench.frame(Vec::new());
        let is_drawn = |title| bench.context.read_response(card::id(&card(title, "a"))).is_some();
        assert!(is_drawn("apples"));
        assert!(!is_drawn("pears"));
    }

    #[test]
    fn of_ten_thousand_cards_those_in_sight_are_drawn() {
        let titles: Vec<String> = (0..10_000).map(|number| format!("card {number}")).collect();
        let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
        let bench = Bench::with(&[("a", &titles)]);
        let drawn = titles.iter().filter(|title| bench.context.read_response(card::id(&card(title, "a"))).is_some());
        let drawn = drawn.count();
        assert!((10..60).contains(&drawn), "{drawn}");
    }
}
