//! The board's messages: banners, a toast, and the hint on an empty board.

use bevy_egui::egui::{
    self, Align, Align2, Area, CornerRadius, Frame, Id, Layout, Margin, Order, Panel, Rect, RichText, Sense, Stroke,
    StrokeKind, Ui, UiBuilder, pos2, vec2,
};

use crate::{
    action::Action,
    desk::Desk,
    icons::{self, Icon},
    theme::{self, Palette},
    view::{BoardView, Link, Remedy},
    widgets::{self, Weight},
};

/// How long a toast stays, in seconds.
const TOAST_SECONDS: f64 = 8.0;
/// Banners shown at once; the rest is counted.
const BANNERS: usize = 2;

/// Problems, shown below the bar until they are dismissed.
pub fn banners(ui: &mut Ui, look: &Palette, board: &BoardView, actions: &mut Vec<Action>) {
    let problems = &board.sync.problems;
    for (i, problem) in problems.iter().enumerate().take(BANNERS) {
        let fill = look.wash(look.bad);
        let frame = Frame::NONE.fill(fill).inner_margin(Margin::symmetric(20, 9));
        let panel = Panel::top(Id::new(("banner", i))).resizable(false).show_separator_line(false).frame(frame);
        panel.show(ui, |ui| {
            ui.horizontal(|ui| {
                let (rect, _) = ui.allocate_exact_size(vec2(18.0, 30.0), Sense::hover());
                icons::draw(ui.painter(), Icon::Warning, rect, 17.0, look.bad);
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                    if widgets::icon_button(ui, look, Icon::Close, "Dismiss").clicked() {
                        actions.push(Action::DismissProblem(i));
                    }
                    let offer = match problem.remedy {
                        Some(Remedy::Retry) => Some(("Try again", Action::Retry)),
                        Some(Remedy::Rebuild) => Some(("Set it aside and rebuild", Action::Rebuild)),
                        None => None,
                    };
                    if let Some((words, action)) = offer
                        && widgets::button(ui, look, words, Some(Icon::Undo), Weight::Plain).clicked()
                    {
                        actions.push(action);
                    }
                    ui.with_layout(Layout::left_to_right(Align::Center).with_main_wrap(true), |ui| {
                        ui.spacing_mut().item_spacing.x = 6.0;
                        ui.label(RichText::new(&problem.title).font(theme::semibold(13.0)).color(look.deep(look.bad)));
                        ui.label(RichText::new(&problem.message).font(theme::body(13.0)).color(look.ink));
                        let rest = problems.len().saturating_sub(BANNERS);
                        if rest > 0 && i + 1 == BANNERS {
                            ui.label(RichText::new(format!("(and {rest} more)")).color(look.ink_soft));
                        }
                    });
                });
            });
        });
    }
}

/// A word at the bottom, with a way back.
pub fn toast(context: &egui::Context, look: &Palette, desk: &mut Desk, actions: &mut Vec<Action>) {
    let Some(toast) = &mut desk.toast else { return };
    let now = context.input(|input| input.time);
    let until = *toast.until.get_or_insert(now + TOAST_SECONDS);
    if now >= until {
        desk.toast = None;
        return;
    }
    context.request_repaint_after_secs(0.25);
    let can_undo = toast.can_undo;
    let text = toast.text.clone();
    let area = Area::new(Id::new("toast")).order(Order::Foreground).anchor(Align2::CENTER_BOTTOM, vec2(0.0, -26.0));
    let shown = area.show(context, |ui| {
        let frame = Frame::NONE.fill(look.toast).corner_radius(12).shadow(look.high_shadow()).inner_margin(Margin {
            left: 18,
            right: 8,
            top: 7,
            bottom: 7,
        });
        frame.show(ui, |ui| {
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = 14.0;
                ui.label(RichText::new(text).font(theme::medium(13.5)).color(look.on_toast));
                let on = if look.dark { Palette::LIGHT } else { Palette::DARK };
                if can_undo {
                    let undo = RichText::new("Undo").font(theme::semibold(13.5)).color(on.accent);
                    let button = egui::Button::new(undo).frame(false);
                    if ui.add(button).on_hover_cursor(egui::CursorIcon::PointingHand).clicked() {
                        actions.push(Action::Undo);
                    }
                }
                if widgets::icon_button(ui, &on, Icon::Close, "Dismiss").clicked() {
                    actions.push(Action::DismissToast);
                }
            });
        });
    });
    if shown.response.contains_pointer() {
        // The notice must not go while the user reaches for it.
        if let Some(toast) = &mut desk.toast {
            toast.until = Some(until.max(now + 2.0));
        }
    }
}

/// A board without columns.
pub fn empty_board(ui: &mut Ui, look: &Palette, board: &BoardView, desk: &mut Desk, actions: &mut Vec<Action>) {
    let area = ui.max_rect();
    let arriving = !board.is_ready || matches!(board.sync.link, Link::CatchingUp);
    let center = area.center() - vec2(0.0, 40.0);
    ghost_board(ui, look, pos2(center.x, center.y - 90.0));
    let place = Rect::from_center_size(center + vec2(0.0, 70.0), vec2(460.0_f32.min(area.width() - 32.0), 190.0));
    ui.scope_builder(UiBuilder::new().max_rect(place).layout(Layout::top_down(Align::Center)), |ui| {
        if arriving {
            ui.label(RichText::new("Fetching the board …").font(theme::semibold(19.0)));
            return;
        }
        ui.label(RichText::new("A fresh board").font(theme::semibold(21.0)));
        ui.add_space(2.0);
        let text = "What you put here is kept on this device and shared with everyone at this board, \
                    at once or as soon as there is a connection.";
        ui.label(RichText::new(text).font(theme::body(14.0)).color(look.ink_soft));
        ui.add_space(14.0);
        if widgets::button(ui, look, "Start with To do, Doing, Done", None, Weight::Primary).clicked() {
            actions.push(Action::StartBoard);
        }
        ui.add_space(2.0);
        if widgets::button(ui, look, "Name a column of my own", None, Weight::Quiet).clicked() {
            desk.new_column = Some(String::new());
        }
    });
}

/// Three columns that are not there yet.
fn ghost_board(ui: &Ui, look: &Palette, center: egui::Pos2) {
    let columns: [(f32, &[f32]); 3] = [(-76.0, &[16.0, 22.0, 14.0]), (0.0, &[20.0, 14.0]), (76.0, &[14.0])];
    for (x, cards) in columns {
        let rect = Rect::from_center_size(center + vec2(x, 0.0), vec2(66.0, 96.0));
        ui.painter().rect_filled(rect, CornerRadius::same(9), look.column);
        let mut top = rect.top() + 9.0;
        for height in cards {
            let card = Rect::from_min_size(pos2(rect.left() + 8.0, top), vec2(50.0, *height));
            let line = Stroke::new(1.0, look.line);
            ui.painter().rect(card, CornerRadius::same(5), look.card, line, StrokeKind::Inside);
            top += height + 6.0;
        }
    }
}

/// Columns, but no cards yet.
pub fn empty_columns(ui: &mut Ui, look: &Palette, area: Rect, desk: &Desk, actions: &mut Vec<Action>) {
    if desk.composer.is_some() || desk.new_column.is_some() {
        return;
    }
    let place = Rect::from_center_size(pos2(area.center().x, area.bottom() - 96.0), vec2(400.0, 100.0));
    ui.scope_builder(UiBuilder::new().max_rect(place).layout(Layout::top_down(Align::Center)), |ui| {
        ui.set_clip_rect(area);
        let text = "Press N to write your first card, or look around with a few that are made up.";
        ui.label(RichText::new(text).font(theme::body(13.5)).color(look.ink_soft));
        ui.add_space(8.0);
        if widgets::button(ui, look, "Add sample cards", Some(Icon::Plus), Weight::Plain).clicked() {
            actions.push(Action::AddSamples);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bench::Bench, desk::Toast, view::Problem};
    use egui::{Key, Modifiers};

    fn problem(message: &str, remedy: Option<Remedy>) -> Problem {
        Problem { title: "Not accepted.".to_owned(), message: message.to_owned(), remedy }
    }

    #[test]
    fn banners_say_what_happened_and_offer_what_helps() {
        let mut bench = Bench::with(&[("a", &["one"])]);
        bench.board.sync.problems = vec![
            problem("cards/one: the row is too large", Some(Remedy::Retry)),
            problem("board.sqlite3 is damaged", Some(Remedy::Rebuild)),
            problem("something else", None),
        ];
        bench.wait(1.0);
        for words in ["Not accepted.", "cards/one: the row is too large", "board.sqlite3 is damaged", "(and 1 more)"] {
            assert!(bench.find(words).is_some(), "{words}");
        }
        assert!(bench.find("something else").is_none(), "two at once");
        assert_eq!(bench.click_on("Try again"), [Action::Retry]);
        assert_eq!(bench.click_on("Set it aside and rebuild"), [Action::Rebuild]);
        bench.board.sync.problems.clear();
        bench.wait(1.0);
        assert!(bench.find("Not accepted.").is_none());
    }

    #[test]
    fn a_toast_offers_to_undo_for_a_while() {
        let mut bench = Bench::with(&[("a", &["one"])]);
        let toast = || Some(Toast { text: "Deleted “one”".to_owned(), can_undo: true, until: None });
        bench.desk.toast = toast();
        bench.wait(0.1);
        assert_eq!(bench.click_on("Undo"), [Action::Undo]);
        bench.desk.toast = toast();
        bench.wait(0.1);
        assert_eq!(bench.key_with(Key::Z, Modifiers::COMMAND), [Action::Undo]);
        bench.frame(vec![egui::Event::PointerMoved(pos2(640.0, 300.0))]);
        bench.wait(TOAST_SECONDS + 3.0);
        assert!(bench.desk.toast.is_none() && bench.find("Deleted").is_none());
    }

    #[test]
    fn a_board_that_arrives_is_not_called_empty() {
        let mut bench = Bench::with(&[]);
        assert!(bench.find("A fresh board").is_some());
        assert_eq!(bench.click_on("Start with To do, Doing, Done"), [Action::StartBoard]);
        bench.board.sync.link = Link::CatchingUp;
        bench.wait(0.1);
        assert!(bench.find("Fetching the board").is_some() && bench.find("A fresh board").is_none());
    }
}
