//! Icons, drawn with lines and circles in a box of 16 by 16.

use bevy_egui::egui::{
    Color32, CornerRadius, Painter, Pos2, Rect, Shape, Stroke, epaint::CubicBezierShape, pos2, vec2,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icon {
    Plus,
    Close,
    Check,
    Dots,
    Search,
    Trash,
    Cloud,
    CloudOff,
    Warning,
    Sun,
    Moon,
    Undo,
    Left,
    Right,
    Pencil,
}

/// Draws an icon in the middle of a rectangle, `size` points wide.
pub fn draw(painter: &Painter, icon: Icon, rect: Rect, size: f32, color: Color32) {
    let unit = size / 16.0;
    let origin = rect.center() - vec2(size, size) / 2.0;
    let at = |x: f32, y: f32| -> Pos2 { origin + vec2(x, y) * unit };
    let stroke = Stroke::new((1.5 * unit).max(1.2), color);
    let line = |points: &[(f32, f32)]| {
        painter.add(Shape::line(points.iter().map(|(x, y)| at(*x, *y)).collect(), stroke));
    };
    let curve = |p: [(f32, f32); 4]| {
        painter.add(CubicBezierShape::from_points_stroke(
            p.map(|(x, y)| at(x, y)),
            false,
            Color32::TRANSPARENT,
            stroke,
        ));
    };
    match icon {
        Icon::Plus => {
            line(&[(8.0, 3.0), (8.0, 13.0)]);
            line(&[(3.0, 8.0), (13.0, 8.0)]);
        }
        Icon::Close => {
            line(&[(4.0, 4.0), (12.0, 12.0)]);
            line(&[(12.0, 4.0), (4.0, 12.0)]);
        }
        Icon::Check => line(&[(3.2, 8.4), (6.6, 11.8), (12.8, 4.8)]),
        Icon::Dots => {
            for x in [3.0, 8.0, 13.0] {
                painter.circle_filled(at(x, 8.0), 1.35 * unit, color);
            }
        }
        Icon::Search => {
            painter.circle_stroke(at(7.0, 7.0), 4.3 * unit, stroke);
            line(&[(10.2, 10.2), (13.6, 13.6)]);
        }
        Icon::Trash => {
            line(&[(2.8, 4.4), (13.2, 4.4)]);
            line(&[(6.0, 4.2), (6.4, 2.4), (9.6, 2.4), (10.0, 4.2)]);
            line(&[(4.2, 4.6), (4.9, 13.6), (11.1, 13.6), (11.8, 4.6)]);
            line(&[(6.8, 7.2), (6.9, 11.0)]);
            line(&[(9.2, 7.2), (9.1, 11.0)]);
        }
        Icon::Cloud | Icon::CloudOff => {
            curve([(4.4, 12.6), (0.6, 12.6), (0.6, 7.4), (4.2, 7.4)]);
            curve([(4.2, 7.4), (4.2, 2.6), (10.8, 2.2), (11.4, 6.6)]);
            curve([(11.4, 6.6), (15.8, 6.6), (15.8, 12.6), (11.4, 12.6)]);
            line(&[(11.4, 12.6), (4.4, 12.6)]);
            if icon == Icon::CloudOff {
                line(&[(3.0, 2.4), (13.4, 14.4)]);
            }
        }
        Icon::Warning => {
            painter.add(Shape::closed_line(vec![at(8.0, 2.2), at(14.6, 13.6), at(1.4, 13.6)], stroke));
            line(&[(8.0, 6.4), (8.0, 9.8)]);
            painter.circle_filled(at(8.0, 11.7), 0.9 * unit, color);
        }
        Icon::Sun => {
            painter.circle_stroke(at(8.0, 8.0), 3.0 * unit, stroke);
            for step in 0..8_u8 {
                let (sin, cos) = (f32::from(step) * std::f32::consts::FRAC_PI_4).sin_cos();
                line(&[(8.0 + 5.0 * cos, 8.0 + 5.0 * sin), (8.0 + 6.6 * cos, 8.0 + 6.6 * sin)]);
            }
        }
        Icon::Moon => {
            curve([(6.4, 2.4), (5.0, 7.6), (8.4, 11.0), (13.6, 9.6)]);
            curve([(13.6, 9.6), (12.0, 14.6), (5.4, 15.0), (2.8, 10.6)]);
            curve([(2.8, 10.6), (1.0, 7.2), (3.0, 3.4), (6.4, 2.4)]);
        }
        Icon::Undo => {
            line(&[(6.2, 3.0), (3.0, 6.2), (6.2, 9.4)]);
            line(&[(3.2, 6.2), (9.6, 6.2)]);
            curve([(9.6, 6.2), (14.4, 6.2), (14.4, 12.8), (9.6, 12.8)]);
            line(&[(9.6, 12.8), (6.4, 12.8)]);
        }
        Icon::Left => {
            line(&[(12.8, 8.0), (3.4, 8.0)]);
            line(&[(7.0, 4.2), (3.2, 8.0), (7.0, 11.8)]);
        }
        Icon::Right => {
            line(&[(3.2, 8.0), (12.6, 8.0)]);
            line(&[(9.0, 4.2), (12.8, 8.0), (9.0, 11.8)]);
        }
        Icon::Pencil => {
            painter.add(Shape::closed_line(
                vec![at(2.8, 13.2), at(3.4, 10.2), at(10.8, 2.8), at(13.2, 5.2), at(5.8, 12.6)],
                stroke,
            ));
        }
    }
}

/// The mark of the board: three columns.
pub fn logo(painter: &Painter, rect: Rect, accent: Color32) {
    painter.rect_filled(rect, CornerRadius::same(8), accent);
    let inner = rect.shrink(rect.width() * 0.25);
    let width = inner.width() / 4.2;
    for (i, height) in [1.0, 0.62, 0.8].into_iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "three bars")]
        let x = inner.left() + i as f32 * width * 1.6;
        let bar = Rect::from_min_size(pos2(x, inner.top()), vec2(width, inner.height() * height));
        painter.rect_filled(bar, CornerRadius::same(2), Color32::WHITE);
    }
}

/// The round box of a card that is done, or not.
pub fn tick_box(painter: &Painter, center: Pos2, radius: f32, done: f32, hot: bool, line: Color32, fill: Color32) {
    if done > 0.0 {
        painter.circle_filled(center, radius * (0.6 + 0.4 * done), fill.gamma_multiply(done));
        let rect = Rect::from_center_size(center, vec2(radius, radius) * 2.0);
        draw(painter, Icon::Check, rect, radius * 1.35, Color32::WHITE.gamma_multiply(done));
    }
    if done < 1.0 {
        let color = if hot { fill } else { line };
        painter.circle_stroke(center, radius - 0.5, Stroke::new(1.5, color.gamma_multiply(1.0 - done)));
        if hot {
            let rect = Rect::from_center_size(center, vec2(radius, radius) * 2.0);
            draw(painter, Icon::Check, rect, radius * 1.3, fill.gamma_multiply(0.7 * (1.0 - done)));
        }
    }
}
