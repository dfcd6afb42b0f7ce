//! The few widgets the board is made of, beside egui's own.

use bevy_egui::egui::{
    Align2, Color32, CornerRadius, CursorIcon, Id, Rect, Response, Sense, Stroke, StrokeKind, Ui, Vec2, pos2, vec2,
};

use crate::{
    icons::{self, Icon},
    theme::{self, Palette},
};

/// A square button with an icon. Its hint describes its action.
pub fn icon_button(ui: &mut Ui, look: &Palette, icon: Icon, hint: &str) -> Response {
    let (rect, response) = ui.allocate_exact_size(vec2(30.0, 30.0), Sense::click());
    paint_icon_button(ui, look, icon, rect, &response);
    response.on_hover_text(hint)
}

/// The same at a given place.
pub fn icon_button_at(ui: &Ui, look: &Palette, icon: Icon, rect: Rect, id: Id, hint: &str) -> Response {
    let response = ui.interact(rect, id, Sense::click());
    paint_icon_button(ui, look, icon, rect, &response);
    response.on_hover_text(hint)
}

fn paint_icon_button(ui: &Ui, look: &Palette, icon: Icon, rect: Rect, response: &Response) {
    let hot = response.hovered() || response.has_focus();
    if hot {
        ui.painter().rect_filled(rect, CornerRadius::same(8), look.hover);
        ui.ctx().set_cursor_icon(CursorIcon::PointingHand);
    }
    let size = (rect.width() * 0.52).min(16.0);
    icons::draw(ui.painter(), icon, rect, size, if hot { look.ink } else { look.ink_soft });
}

/// The emphasis of a button.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    Primary,
    Plain,
    Quiet,
}

/// A button with words on it.
pub fn button(ui: &mut Ui, look: &Palette, text: &str, icon: Option<Icon>, weight: Weight) -> Response {
    let galley = ui.painter().layout_no_wrap(text.to_owned(), theme::medium(13.5), Color32::PLACEHOLDER);
    let icon_width = if icon.is_some() { 20.0 } else { 0.0 };
    let size = vec2(galley.size().x + icon_width + 26.0, 34.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    let hot = response.hovered() || response.has_focus();
    let (fill, ink, line) = match weight {
        Weight::Primary if hot => (look.accent.lerp_to_gamma(look.ink, 0.12), look.on_accent, Color32::TRANSPARENT),
        Weight::Primary => (look.accent, look.on_accent, Color32::TRANSPARENT),
        Weight::Plain => (if hot { look.hover } else { look.card }, look.ink, look.line),
        Weight::Quiet => (if hot { look.hover } else { Color32::TRANSPARENT }, look.ink_soft, Color32::TRANSPARENT),
    };
    ui.painter().rect(rect, CornerRadius::same(9), fill, Stroke::new(1.0, line), StrokeKind::Inside);
    let left = rect.left() + 13.0;
    if let Some(icon) = icon {
        let at = Rect::from_center_size(pos2(left + 7.0, rect.center().y), Vec2::splat(14.0));
        icons::draw(ui.painter(), icon, at, 14.0, ink);
    }
    let text_pos = pos2(left + icon_width, rect.center().y - galley.size().y / 2.0);
    ui.painter().galley(text_pos, galley, ink);
    if response.hovered() {
        ui.ctx().set_cursor_icon(CursorIcon::PointingHand);
    }
    response
}

/// A switch, on or off.
pub fn switch(ui: &mut Ui, look: &Palette, on: bool) -> Response {
    let (rect, response) = ui.allocate_exact_size(vec2(34.0, 20.0), Sense::click());
    let how_on = ui.ctx().animate_bool_with_time(response.id, on, 0.12);
    let fill = look.line_strong.lerp_to_gamma(look.good, how_on);
    ui.painter().rect_filled(rect, CornerRadius::same(10), fill);
    let center = pos2(rect.left() + 10.0 + how_on * 14.0, rect.center().y);
    ui.painter().circle_filled(center, 7.5, Color32::WHITE);
    if response.hovered() {
        ui.ctx().set_cursor_icon(CursorIcon::PointingHand);
    }
    if response.has_focus() {
        ui.painter().rect_stroke(
            rect.expand(2.0),
            CornerRadius::same(12),
            Stroke::new(1.5, look.accent),
            StrokeKind::Outside,
        );
    }
    response
}

/// A person: initials on a disc, faded when away. `ring` is the colour behind the disc.
pub fn avatar(ui: &Ui, look: &Palette, rect: Rect, name: &str, color: Color32, is_here: bool, ring: Color32) {
    let painter = ui.painter();
    let radius = rect.width() / 2.0;
    painter.circle_filled(rect.center(), radius + 2.0, ring);
    let fill = if is_here { color } else { look.column.lerp_to_gamma(color, 0.18) };
    painter.circle_filled(rect.center(), radius, fill);
    let ink = if is_here { Color32::WHITE } else { look.ink_faint };
    painter.text(rect.center(), Align2::CENTER_CENTER, initials(name), theme::semibold(radius * 0.74), ink);
    if is_here {
        let dot = rect.center() + Vec2::splat(radius * 0.72);
        painter.circle_filled(dot, 4.5, ring);
        painter.circle_filled(dot, 3.2, look.good);
    }
}

/// The first letters of the first and last word.
pub fn initials(name: &str) -> String {
    let mut words = name.split_whitespace().filter_map(|word| word.chars().next());
    let first = words.next();
    let letters: String = first.into_iter().chain(words.next_back()).flat_map(char::to_uppercase).collect();
    if letters.is_empty() { "?".to_owned() } else { letters }
}

/// A whole number as people write it: 12,345.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// "1 change", "12 changes".
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initials_are_of_the_first_and_last_word() {
        assert_eq!(initials("Ada"), "A");
        assert_eq!(initials("ada king lovelace"), "AL");
        assert_eq!(initials("  "), "?");
        assert_eq!(initials("éva ß"), "ÉSS");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(counted(1, "change", "changes"), "1 change");
        assert_eq!(counted(1_000, "change", "changes"), "1,000 changes");
    }
}
