//! The bar on top: the name of the board, the search, the people and the state of the connection.

use bevy_egui::egui::{
    Align, Color32, CornerRadius, CursorIcon, Frame, Id, Key, Layout, Margin, Panel, Popup, PopupCloseBehavior, Rect,
    Response, RichText, Sense, Stroke, StrokeKind, TextEdit, Ui, UiBuilder, Vec2, pos2, vec2,
};

use crate::{
    action::Action,
    desk::Desk,
    editor,
    icons::{self, Icon},
    model::Tint,
    theme::{self, Palette},
    view::{BoardView, Link, PersonView, SyncView},
    widgets::{self, counted, grouped},
};

const HEIGHT: f32 = 58.0;
/// Faces shown before the rest becomes a number.
const FACES: usize = 5;
/// The time that saving and sending an edit may take before the header mentions it, in seconds.
const BUSY_SHOWN_AFTER: f64 = 0.5;

/// Draws the bar.
pub fn show(ui: &mut Ui, look: &Palette, board: &BoardView, desk: &mut Desk, actions: &mut Vec<Action>) {
    let panel = Panel::top("header").exact_size(HEIGHT).resizable(false).show_separator_line(false).frame(Frame::NONE);
    panel.show(ui, |ui| {
        let rect = ui.max_rect();
        ui.painter().rect_filled(rect, CornerRadius::ZERO, look.bar);
        ui.painter().hline(rect.x_range(), rect.bottom() - 0.5, Stroke::new(1.0, look.line));
        let is_narrow = rect.width() < 860.0;

        let logo = Rect::from_center_size(pos2(rect.left() + 36.0, rect.center().y), Vec2::splat(32.0));
        icons::logo(ui.painter(), logo, look.accent);
        let mut left = logo.right() + 12.0;
        if !is_narrow {
            let title = ui.painter().layout_no_wrap("Task board".to_owned(), theme::semibold(16.5), look.ink);
            let at = pos2(left, rect.center().y - title.size().y / 2.0);
            left += title.size().x + 24.0;
            ui.painter().galley(at, title, look.ink);
        }
        let right = Rect::from_min_max(pos2(left, rect.top()), pos2(rect.right() - 16.0, rect.bottom()));
        let builder = UiBuilder::new().max_rect(right).layout(Layout::right_to_left(Align::Center));
        let used = ui.scope_builder(builder, |ui| {
            ui.spacing_mut().item_spacing.x = 10.0;
            let (icon, hint) = if desk.dark { (Icon::Sun, "Light") } else { (Icon::Moon, "Dark") };
            if widgets::icon_button(ui, look, icon, hint).clicked() {
                actions.push(Action::Dark(!desk.dark));
            }
            connection(ui, look, &board.sync, desk, is_narrow, actions);
            ui.add_space(2.0);
            people(ui, look, &board.people, is_narrow, desk, actions);
            ui.min_rect().left()
        });
        let width = (used.inner - left - 20.0).clamp(0.0, 320.0);
        if width > 70.0 {
            let field = Rect::from_min_size(pos2(left, rect.center().y - 17.0), vec2(width, 34.0));
            search(ui, look, field, desk);
        }
        progress(ui, look, &board.sync, rect);
    });
}

fn search(ui: &mut Ui, look: &Palette, rect: Rect, desk: &mut Desk) {
    let id = Id::new("search");
    let has_focus = ui.memory(|memory| memory.has_focus(id));
    let line = if has_focus { Stroke::new(1.5, look.accent) } else { Stroke::new(1.0, look.line) };
    let fill = if has_focus { look.card } else { look.ground };
    ui.painter().rect(rect, CornerRadius::same(9), fill, line, StrokeKind::Inside);
    let lens = Rect::from_center_size(pos2(rect.left() + 18.0, rect.center().y), Vec2::splat(15.0));
    icons::draw(ui.painter(), Icon::Search, lens, 15.0, look.ink_faint);
    let field = Rect::from_min_max(pos2(rect.left() + 32.0, rect.top()), pos2(rect.right() - 28.0, rect.bottom()));
    let edit = TextEdit::singleline(&mut desk.search)
        .id(id)
        .frame(Frame::NONE.inner_margin(Margin::symmetric(2, 0)))
        .vertical_align(Align::Center)
        .font(theme::body(13.5))
        .hint_text(if rect.width() > 190.0 { "Find cards" } else { "Find" });
    let response = ui.put(field, edit);
    if std::mem::take(&mut desk.focus_search) {
        response.request_focus();
    }
    if response.has_focus() && ui.input(|input| input.key_pressed(Key::Escape))
        || response.lost_focus() && ui.input(|input| input.key_pressed(Key::Escape))
    {
        desk.search.clear();
        response.surrender_focus();
    }
    if !desk.search.is_empty() {
        let cross = Rect::from_center_size(pos2(rect.right() - 17.0, rect.center().y), Vec2::splat(24.0));
        if widgets::icon_button_at(ui, look, Icon::Close, cross, id.with("clear"), "Show all cards").clicked() {
            desk.search.clear();
        }
    } else if !has_focus && rect.width() > 190.0 {
        let key = Rect::from_center_size(pos2(rect.right() - 20.0, rect.center().y), Vec2::splat(18.0));
        ui.painter().rect(key, CornerRadius::same(5), look.bar, Stroke::new(1.0, look.line), StrokeKind::Inside);
        let galley = ui.painter().layout_no_wrap("/".to_owned(), theme::medium(11.5), look.ink_faint);
        ui.painter().galley(theme::centered(key, galley.size()), galley, look.ink_faint);
    }
}

fn people(
    ui: &mut Ui,
    look: &Palette,
    people: &[PersonView],
    is_narrow: bool,
    desk: &mut Desk,
    actions: &mut Vec<Action>,
) {
    let shown = people.len().min(FACES);
    // Right to left: the last face first.
    let rest = people.len() - shown;
    if rest > 0 {
        let galley = ui.painter().layout_no_wrap(format!("+{rest}"), theme::medium(12.5), look.ink_soft);
        let (rect, response) = ui.allocate_exact_size(galley.size() + vec2(4.0, 8.0), Sense::hover());
        ui.painter().galley(theme::centered(rect, galley.size()), galley, look.ink_soft);
        let names: Vec<&str> = people[shown..].iter().map(|person| person.name.as_str()).collect();
        response.on_hover_text(names.join("\n"));
    }
    const SIZE: f32 = 30.0;
    let step = if is_narrow { 27.0 } else { 34.0 };
    #[expect(clippy::cast_precision_loss, reason = "at most five")]
    let width = if shown == 0 { 0.0 } else { SIZE + step * (shown - 1) as f32 };
    let (rect, _) = ui.allocate_exact_size(vec2(width, 34.0), Sense::hover());
    for (i, person) in people[..shown].iter().enumerate().rev() {
        #[expect(clippy::cast_precision_loss, reason = "at most five")]
        let left = rect.left() + step * i as f32;
        let face = Rect::from_min_size(pos2(left, rect.center().y - SIZE / 2.0), Vec2::splat(SIZE));
        let id = Id::new(("person", person.id.as_str()));
        let response = ui.interact(face, id, if person.is_me { Sense::click() } else { Sense::hover() });
        widgets::avatar(ui, look, face, &person.name, person.tint.color(), person.away.is_none(), look.bar);
        let state = match person.away {
            None if person.is_me => "you, on this device".to_owned(),
            None => "here".to_owned(),
            Some(away) => format!("away, last here {} ago", ago(away)),
        };
        if person.is_me {
            myself(&response, look, person, desk, actions);
        }
        response.on_hover_text(format!("{}\n{state}", person.name));
    }
}

/// A click on one's own face: name and colour.
fn myself(response: &Response, look: &Palette, me: &PersonView, desk: &mut Desk, actions: &mut Vec<Action>) {
    let open = Popup::menu(response).close_behavior(PopupCloseBehavior::CloseOnClickOutside).show(|ui| {
        ui.set_width(232.0);
        ui.add_space(4.0);
        ui.label(RichText::new("What others see of you").font(theme::medium(12.5)).color(look.ink_soft));
        let mut name = desk.my_name.take().unwrap_or_else(|| me.name.clone());
        let frame =
            Frame::NONE.stroke(Stroke::new(1.0, look.line)).corner_radius(8).inner_margin(Margin::symmetric(9, 7));
        let edit = TextEdit::singleline(&mut name).char_limit(40).desired_width(f32::INFINITY).frame(frame);
        let field = ui.add(edit);
        if field.changed() && !name.trim().is_empty() {
            actions.push(Action::IAm { name: name.trim().to_owned(), tint: me.tint });
        }
        if field.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter)) {
            ui.close();
        }
        desk.my_name = Some(name);
        ui.horizontal(|ui| {
            ui.spacing_mut().item_spacing.x = 3.0;
            for tint in Tint::ALL {
                if editor::swatch(ui, look, tint, me.tint == tint).clicked() {
                    actions.push(Action::IAm { name: me.name.clone(), tint });
                }
            }
        });
    });
    if open.is_none() {
        desk.my_name = None;
    }
}

/// "12 s", "5 min", "3 h", "2 days".
fn ago(time: std::time::Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// The pill's text and colour.
fn in_words(sync: &SyncView, is_slow: bool) -> (String, Tone) {
    let waiting = sync.unsent as u64;
    let (word, tone) = match sync.link {
        Link::Live if is_slow && sync.unsaved > 0 => {
            return (format!("Saving {}", grouped(sync.unsaved)), Tone::Warn);
        }
        Link::Live if is_slow && waiting > 0 => return (format!("Sending {}", grouped(waiting)), Tone::Good),
        Link::Live => return ("Live".to_owned(), Tone::Good),
        Link::CatchingUp => {
            let of = sync.total.map(|total| format!(" of {}", grouped(total))).unwrap_or_default();
            return (format!("Catching up {}{of}", grouped(sync.received)), Tone::Busy);
        }
        Link::Connecting => ("Connecting", Tone::Busy),
        Link::Offline if sync.is_local => return ("On this device".to_owned(), Tone::Still),
        Link::Offline if sync.is_paused => ("Offline", Tone::Still),
        Link::Offline => ("Offline", Tone::Warn),
    };
    let text = if waiting > 0 { format!("{word} · {} to send", grouped(waiting)) } else { word.to_owned() };
    (text, tone)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tone {
    Good,
    Busy,
    Warn,
    Still,
}

fn connection(
    ui: &mut Ui,
    look: &Palette,
    sync: &SyncView,
    desk: &mut Desk,
    is_narrow: bool,
    actions: &mut Vec<Action>,
) {
    let now = ui.input(|input| input.time);
    let is_busy = sync.unsaved > 0 || sync.unsent > 0;
    desk.busy_since = if is_busy { desk.busy_since.or(Some(now)) } else { None };
    let is_slow = desk.busy_since.is_some_and(|since| now - since > BUSY_SHOWN_AFTER);
    let (text, tone) = in_words(sync, is_slow);
    let color = match tone {
        Tone::Good => look.good,
        Tone::Busy => look.accent,
        Tone::Warn => look.warn,
        Tone::Still => look.ink_faint,
    };
    if !sync.is_local {
        let switch = widgets::switch(ui, look, !sync.is_paused);
        if switch.clicked() {
            actions.push(Action::GoOffline(!sync.is_paused));
        }
        switch.on_hover_text(if sync.is_paused {
            "Go online: send what waits, and receive"
        } else {
            "Work offline: everything is kept here and sent later"
        });
    }

    let galley = ui.painter().layout_no_wrap(text, theme::medium(12.5), look.deep(color));
    let icon_width = if is_narrow { 0.0 } else { 20.0 };
    let size = vec2(galley.size().x + icon_width + 40.0, 30.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    let fill = if response.hovered() { look.wash(color).lerp_to_gamma(color, 0.12) } else { look.wash(color) };
    ui.painter().rect_filled(rect, CornerRadius::same(15), fill);
    let mut x = rect.left() + 14.0;
    dot(ui, pos2(x + 1.0, rect.center().y), color, tone == Tone::Busy);
    x += 12.0;
    if !is_narrow {
        let icon = if sync.link == Link::Offline { Icon::CloudOff } else { Icon::Cloud };
        let place = Rect::from_center_size(pos2(x + 7.0, rect.center().y), Vec2::splat(15.0));
        icons::draw(ui.painter(), icon, place, 15.0, look.deep(color));
        x += icon_width;
    }
    ui.painter().galley(pos2(x, rect.center().y - galley.size().y / 2.0), galley, color);
    let response = response.on_hover_cursor(CursorIcon::PointingHand);
    details(&response, look, sync);
}

fn dot(ui: &Ui, center: bevy_egui::egui::Pos2, color: Color32, is_busy: bool) {
    if is_busy {
        #[expect(clippy::cast_possible_truncation, reason = "between 0 and 1")]
        let phase = ui.input(|input| (input.time * 1.2).fract()) as f32;
        ui.painter().circle_filled(center, 4.0 + 4.0 * phase, color.gamma_multiply(0.35 * (1.0 - phase)));
        ui.ctx().request_repaint_after_secs(1.0 / 30.0);
    }
    ui.painter().circle_filled(center, 4.0, color);
}

/// The menu behind the pill.
fn details(response: &Response, look: &Palette, sync: &SyncView) {
    Popup::menu(response).close_behavior(PopupCloseBehavior::CloseOnClickOutside).show(|ui| {
        ui.set_width(280.0);
        ui.add_space(4.0);
        let headline = match sync.link {
            Link::Live => "Connected, and up to date",
            Link::CatchingUp => "Connected, still receiving",
            Link::Connecting => "Trying to connect",
            Link::Offline if !sync.is_kept => "Not everything is saved",
            Link::Offline if sync.is_local => "Kept on this device",
            Link::Offline if sync.is_paused => "Working offline",
            Link::Offline => "Not connected",
        };
        ui.label(RichText::new(headline).font(theme::semibold(14.0)));
        let why = match (&sync.reason, sync.is_paused) {
            (_, true) if sync.is_kept => Some("Everything you do is kept on this device and sent when you go online."),
            (Some(reason), _) => Some(reason.as_str()),
            (None, _) => None,
        };
        if let Some(why) = why {
            // A menu stretches its content, including text.
            let words = RichText::new(why).font(theme::body(12.5)).color(look.ink_soft);
            ui.with_layout(Layout::top_down(Align::LEFT), |ui| ui.label(words));
        }
        ui.add_space(4.0);
        let mut line = |name: &str, value: String| {
            ui.horizontal(|ui| {
                ui.label(RichText::new(name).font(theme::body(12.5)).color(look.ink_faint));
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                    ui.label(RichText::new(value).font(theme::medium(12.5)));
                });
            });
        };
        line("Board", sync.place.clone());
        let received = match sync.total.filter(|_| sync.link == Link::CatchingUp) {
            Some(total) => Some(format!("{} of {}", grouped(sync.received), grouped(total))),
            None => (sync.link == Link::CatchingUp).then(|| grouped(sync.received)),
        };
        if let Some(received) = received {
            line("Received", received);
        }
        let none_or = |count: u64, text: String| if count == 0 { "none".to_owned() } else { text };
        let unsent = sync.unsent as u64;
        line("Waiting to be sent", none_or(unsent, counted(unsent, "document", "documents")));
        line("Waiting to be saved", none_or(sync.unsaved, counted(sync.unsaved, "edit", "edits")));
        if sync.lost > 0 {
            line("Cannot be saved", counted(sync.lost, "edit", "edits"));
        }
        ui.add_space(2.0);
    });
}

/// A bar along the lower edge while a board arrives.
fn progress(ui: &Ui, look: &Palette, sync: &SyncView, rect: Rect) {
    let Some(progress) = sync.progress else { return };
    let progress = ui.ctx().animate_value_with_time(Id::new("progress"), progress.clamp(0.0, 1.0), 0.2);
    let track = Rect::from_min_max(pos2(rect.left(), rect.bottom() - 4.0), rect.max);
    ui.painter().rect_filled(track, CornerRadius::ZERO, look.wash(look.accent));
    let mut bar = track;
    bar.set_width(track.width() * progress.max(0.01));
    ui.painter().rect_filled(bar, CornerRadius::same(2), look.accent);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pill_says_what_waits() {
        let mut sync = SyncView { link: Link::Live, ..SyncView::default() };
        assert_eq!(in_words(&sync, false).0, "Live");
        sync.unsent = 2;
        assert_eq!(in_words(&sync, false).0, "Live");
        assert_eq!(in_words(&sync, true).0, "Sending 2");
        sync.link = Link::Offline;
        assert_eq!(in_words(&sync, false).0, "Offline · 2 to send");
        sync.link = Link::CatchingUp;
        (sync.received, sync.total) = (1_200, Some(10_000));
        assert_eq!(in_words(&sync, false).0, "Catching up 1,200 of 10,000");
    }

    #[test]
    fn a_bar_shows_how_much_of_a_board_is_here() {
        let mut bench = crate::bench::Bench::with(&[("a", &["one"])]);
        let accent = Palette::LIGHT.accent;
        let bars = |bench: &crate::bench::Bench| -> Vec<f32> {
            let bars = bench.filled.iter().filter(|(rect, fill)| *fill == accent && rect.height() == 4.0);
            bars.map(|(rect, _)| rect.width()).collect()
        };
        assert_eq!(bars(&bench), [0.0; 0]);
        let sync = &mut bench.board.sync;
        (sync.link, sync.received, sync.total, sync.progress) = (Link::CatchingUp, 2_500, Some(10_000), Some(0.25));
        bench.wait(1.0);
        bench.wait(1.0);
        assert_eq!(bars(&bench), [320.0], "a quarter of the window");
        assert!(bench.find("Catching up 2,500 of 10,000").is_some());
    }

    #[test]
    fn behind_the_pill_is_why_there_is_no_connection() {
        let mut bench = crate::bench::Bench::with(&[("a", &["one"])]);
        let sync = &mut bench.board.sync;
        sync.link = Link::Offline;
        sync.reason = Some("the store is in use by another window".to_owned());
        (sync.is_kept, sync.is_paused, sync.unsaved, sync.lost) = (false, true, 3, 2);
        bench.wait(1.0);
        bench.click_on("Offline");
        bench.wait(1.0);
        for words in ["Not everything is saved", "the store is in use by another window", "3 edits", "2 edits"] {
            assert!(bench.find(words).is_some(), "{words}: {:?}", bench.words);
        }
        assert!(bench.find("is kept on this device").is_none());
    }

    #[test]
    fn absence_is_told_in_one_unit() {
        use std::time::Duration;
        assert_eq!(ago(Duration::from_secs(59)), "59 s");
        assert_eq!(ago(Duration::from_secs(60)), "1 min");
        assert_eq!(ago(Duration::from_secs(7_300)), "2 h");
        assert_eq!(ago(Duration::from_secs(200_000)), "2 days");
    }
}
