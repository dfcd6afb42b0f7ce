//! The board's looks: colours, type, spacing.

use std::sync::Arc;

use bevy::{prelude::*, shader::Shader};
use bevy_egui::{
    egui::{
        self, Color32, CornerRadius, FontData, FontDefinitions, FontFamily, FontId, Margin, Shadow, Stroke,
        epaint::text::FontTweak, epaint::text::VariationCoords, vec2,
    },
    render::EGUI_SHADER_HANDLE,
};

use crate::model::Tint;

const INTER: &[u8] = include_bytes!("../../assets/fonts/Inter-roman.var.ttf");
const MEDIUM: &str = "medium";
const SEMIBOLD: &str = "semibold";

/// Width of a column's card area and its margins.
pub const COLUMN_WIDTH: f32 = 296.0;
pub const COLUMN_GAP: f32 = 16.0;
pub const CARD_GAP: f32 = 8.0;
pub const CARD_RADIUS: u8 = 10;

/// Body text.
pub fn body(size: f32) -> FontId {
    FontId::proportional(size)
}

/// Labels and names.
pub fn medium(size: f32) -> FontId {
    FontId::new(size, FontFamily::Name(MEDIUM.into()))
}

/// Titles.
pub fn semibold(size: f32) -> FontId {
    FontId::new(size, FontFamily::Name(SEMIBOLD.into()))
}

impl Tint {
    /// Strong enough on both boards.
    pub fn color(self) -> Color32 {
        match self {
            Self::Blue => Color32::from_rgb(0x4C, 0x74, 0xE6),
            Self::Teal => Color32::from_rgb(0x1E, 0x9C, 0xA6),
            Self::Green => Color32::from_rgb(0x35, 0xA3, 0x6B),
            Self::Amber => Color32::from_rgb(0xD9, 0x92, 0x20),
            Self::Red => Color32::from_rgb(0xDB, 0x52, 0x4E),
            Self::Pink => Color32::from_rgb(0xCF, 0x54, 0x93),
            Self::Violet => Color32::from_rgb(0x86, 0x63, 0xD6),
            Self::Grey => Color32::from_rgb(0x8A, 0x8F, 0x98),
        }
    }
}

/// Colours, named by their purpose.
#[derive(Clone, Copy, PartialEq)]
pub struct Palette {
    pub dark: bool,
    /// Behind everything.
    pub ground: Color32,
    /// The bar on top.
    pub bar: Color32,
    /// A column.
    pub column: Color32,
    /// A card, a popup, a field.
    pub card: Color32,
    /// The hairline around them.
    pub line: Color32,
    /// The line around the widget under the pointer.
    pub line_strong: Color32,
    /// Text.
    pub ink: Color32,
    /// Text that stands back.
    pub ink_soft: Color32,
    /// Text that stands further back; still readable.
    pub ink_faint: Color32,
    /// Inviting and focused elements.
    pub accent: Color32,
    /// Text on [`Palette::accent`].
    pub on_accent: Color32,
    /// All is well.
    pub good: Color32,
    /// Worth a look.
    pub warn: Color32,
    /// For states that need a user's attention.
    pub bad: Color32,
    /// Under a pointer.
    pub hover: Color32,
    /// A toast.
    pub toast: Color32,
    /// Text on it.
    pub on_toast: Color32,
    /// The strength of shadows.
    pub shadow: u8,
}

impl Palette {
    pub const LIGHT: Self = Self {
        dark: false,
        ground: Color32::from_rgb(0xF6, 0xF6, 0xF3),
        bar: Color32::from_rgb(0xFD, 0xFD, 0xFC),
        column: Color32::from_rgb(0xEC, 0xEC, 0xE7),
        card: Color32::from_rgb(0xFF, 0xFF, 0xFF),
        line: Color32::from_rgb(0xE1, 0xE1, 0xDB),
        line_strong: Color32::from_rgb(0xC4, 0xC5, 0xC0),
        ink: Color32::from_rgb(0x22, 0x25, 0x2B),
        ink_soft: Color32::from_rgb(0x5C, 0x61, 0x6B),
        ink_faint: Color32::from_rgb(0x7E, 0x83, 0x8C),
        accent: Color32::from_rgb(0x3D, 0x63, 0xDD),
        on_accent: Color32::WHITE,
        good: Color32::from_rgb(0x2B, 0x9A, 0x66),
        warn: Color32::from_rgb(0xC7, 0x83, 0x12),
        bad: Color32::from_rgb(0xCD, 0x3D, 0x3F),
        hover: Color32::from_rgb(0xE3, 0xE3, 0xDD),
        toast: Color32::from_rgb(0x26, 0x29, 0x30),
        on_toast: Color32::from_rgb(0xF4, 0xF4, 0xF2),
        shadow: 22,
    };

    pub const DARK: Self = Self {
        dark: true,
        ground: Color32::from_rgb(0x14, 0x16, 0x1A),
        bar: Color32::from_rgb(0x19, 0x1B, 0x20),
        column: Color32::from_rgb(0x1C, 0x1F, 0x25),
        card: Color32::from_rgb(0x28, 0x2B, 0x33),
        line: Color32::from_rgb(0x33, 0x37, 0x40),
        line_strong: Color32::from_rgb(0x51, 0x57, 0x63),
        ink: Color32::from_rgb(0xEC, 0xED, 0xEF),
        ink_soft: Color32::from_rgb(0xAE, 0xB3, 0xBD),
        ink_faint: Color32::from_rgb(0x88, 0x8E, 0x9A),
        accent: Color32::from_rgb(0x6E, 0x8F, 0xF5),
        on_accent: Color32::from_rgb(0x10, 0x14, 0x22),
        good: Color32::from_rgb(0x46, 0xBE, 0x85),
        warn: Color32::from_rgb(0xE2, 0xA9, 0x3B),
        bad: Color32::from_rgb(0xF0, 0x6A, 0x6A),
        hover: Color32::from_rgb(0x30, 0x34, 0x3D),
        toast: Color32::from_rgb(0xEC, 0xED, 0xEF),
        on_toast: Color32::from_rgb(0x1C, 0x1F, 0x25),
        shadow: 90,
    };

    /// The shadow of a card at rest.
    pub fn card_shadow(&self) -> Shadow {
        Shadow { offset: [0, 1], blur: 4, spread: 0, color: Color32::from_black_alpha(self.shadow) }
    }

    /// The shadow of something above the board.
    pub fn high_shadow(&self) -> Shadow {
        Shadow { offset: [0, 8], blur: 28, spread: 0, color: Color32::from_black_alpha(self.shadow.saturating_mul(2)) }
    }

    /// A colour, washed out onto a card.
    pub fn wash(&self, color: Color32) -> Color32 {
        self.card.lerp_to_gamma(color, if self.dark { 0.26 } else { 0.14 })
    }

    /// Text in a colour, readable on its [`Palette::wash`].
    pub fn deep(&self, color: Color32) -> Color32 {
        color.lerp_to_gamma(self.ink, if self.dark { 0.35 } else { 0.30 })
    }
}

/// Replaces egui's shader: see there.
pub fn install_shader(mut shaders: ResMut<Assets<Shader>>) -> Result {
    let shader = Shader::from_wgsl(include_str!("egui.wgsl"), "task_board/egui.wgsl");
    shaders.insert(&EGUI_SHADER_HANDLE, shader)?;
    Ok(())
}

/// Makes Inter the font of all text. egui's own fonts provide the characters that it lacks.
pub fn install_fonts(context: &egui::Context) {
    let mut fonts = FontDefinitions::default();
    let fallback: Vec<String> = fonts.families.get(&FontFamily::Proportional).cloned().unwrap_or_default();
    let family = |name: &str| if name == "regular" { FontFamily::Proportional } else { FontFamily::Name(name.into()) };
    for (name, weight) in [("regular", 420.0), (MEDIUM, 540.0), (SEMIBOLD, 640.0)] {
        let tweak = FontTweak { coords: VariationCoords::new([(b"wght", weight)]), ..FontTweak::default() };
        let data_name = format!("inter-{name}");
        fonts.font_data.insert(data_name.clone(), Arc::new(FontData::from_static(INTER).tweak(tweak)));
        let chain = std::iter::once(data_name).chain(fallback.iter().cloned()).collect();
        fonts.families.insert(family(name), chain);
    }
    context.set_fonts(fonts);
}

/// Dresses egui's own widgets (fields, menus, tooltips, scroll bars) in the palette.
pub fn install_style(context: &egui::Context, palette: &Palette) {
    let theme = if palette.dark { egui::Theme::Dark } else { egui::Theme::Light };
    context.set_theme(theme);
    context.style_mut_of(theme, |style| {
        use egui::TextStyle;
        style.text_styles = [
            (TextStyle::Small, body(12.0)),
            (TextStyle::Body, body(14.0)),
            (TextStyle::Button, medium(13.5)),
            (TextStyle::Heading, semibold(18.0)),
            (TextStyle::Monospace, FontId::monospace(13.0)),
        ]
        .into();
        style.interaction.tooltip_delay = 0.35;
        style.interaction.selectable_labels = false;
        let spacing = &mut style.spacing;
        spacing.item_spacing = vec2(8.0, 6.0);
        spacing.button_padding = vec2(12.0, 6.0);
        spacing.interact_size = vec2(32.0, 28.0);
        spacing.menu_margin = Margin::same(10);
        spacing.scroll.floating = true;
        spacing.scroll.bar_width = 8.0;
        spacing.scroll.floating_width = 4.0;
        spacing.scroll.dormant_handle_opacity = 0.0;
        spacing.scroll.fade.strength = 0.0;

        let visuals = &mut style.visuals;
        visuals.override_text_color = Some(palette.ink);
        visuals.weak_text_color = Some(palette.ink_faint);
        visuals.panel_fill = palette.ground;
        visuals.window_fill = palette.card;
        visuals.window_stroke = Stroke::new(1.0, palette.line);
        visuals.window_corner_radius = CornerRadius::same(12);
        visuals.menu_corner_radius = CornerRadius::same(10);
        visuals.window_shadow = palette.high_shadow();
        visuals.popup_shadow = palette.high_shadow();
        visuals.extreme_bg_color = palette.card;
        visuals.text_edit_bg_color = Some(palette.card);
        visuals.faint_bg_color = palette.column;
        visuals.selection.bg_fill = palette.accent.gamma_multiply(0.28);
        visuals.selection.stroke = Stroke::new(1.5, palette.accent);
        visuals.hyperlink_color = palette.accent;
        visuals.text_cursor.stroke = Stroke::new(1.5, palette.accent);
        let radius = CornerRadius::same(8);
        let widgets = &mut visuals.widgets;
        for (widget, fill, line) in [
            (&mut widgets.noninteractive, palette.card, palette.line),
            (&mut widgets.inactive, palette.card, palette.line),
            (&mut widgets.hovered, palette.hover, palette.line_strong),
            (&mut widgets.active, palette.hover, palette.line_strong),
            (&mut widgets.open, palette.hover, palette.line_strong),
        ] {
            widget.bg_fill = fill;
            widget.weak_bg_fill = fill;
            widget.bg_stroke = Stroke::new(1.0, line);
            widget.fg_stroke = Stroke::new(1.5, palette.ink_soft);
            widget.corner_radius = radius;
            widget.expansion = 0.0;
        }
    });
}

/// Where text of this size begins so that it is in the middle of a box of this size.
pub fn centered(outer: egui::Rect, size: egui::Vec2) -> egui::Pos2 {
    outer.center() - size / 2.0
}
