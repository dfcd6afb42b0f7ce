//! A window without a renderer. A test puts in the user's input, takes the actions, and can look at the drawn shapes.

use std::sync::Arc;

use bevy_convex_replicate::prelude::DocumentId;
use bevy_egui::egui::{self, Color32, Event, Id, Key, Modifiers, PointerButton, Pos2, RawInput, Rect, Shape, vec2};

use crate::{
    action::Action,
    board::show,
    desk::Desk,
    model::Tint,
    theme,
    view::{BoardView, CardView, ColumnView, Link, SyncView},
};

pub struct Bench {
    pub context: egui::Context,
    pub board: BoardView,
    pub desk: Desk,
    /// Words on the screen, and where.
    pub words: Vec<(String, Rect)>,
    /// Filled rectangles on the screen.
    pub filled: Vec<(Rect, Color32)>,
    time: f64,
}

pub fn card(id: &str, column: &str) -> Arc<CardView> {
    Arc::new(CardView {
        id: DocumentId::new(id),
        column: column.to_owned(),
        order: id.to_owned(),
        title: id.to_owned(),
        notes: String::new(),
        is_done: false,
        label: None,
    })
}

impl Bench {
    pub fn with(columns: &[(&str, &[&str])]) -> Self {
        let context = egui::Context::default();
        theme::install_fonts(&context);
        let column = |(id, cards): &(&str, &[&str])| ColumnView {
            id: DocumentId::new(*id),
            title: (*id).to_owned(),
            order: (*id).to_owned(),
            tint: Tint::Blue,
            cards: cards.iter().map(|card_id| card(card_id, id)).collect(),
            revision: 1,
        };
        let sync = SyncView { link: Link::Live, is_kept: true, ..SyncView::default() };
        let columns = columns.iter().map(column).collect();
        let board = BoardView { columns, is_ready: true, sync, ..BoardView::default() };
        let (words, filled) = (Vec::new(), Vec::new());
        let mut bench = Self { context, board, desk: Desk::default(), words, filled, time: 0.0 };
        bench.frame(Vec::new());
        bench.frame(Vec::new());
        bench
    }

    pub fn frame(&mut self, events: Vec<Event>) -> Vec<Action> {
        self.time += 0.05;
        let screen = Rect::from_min_size(Pos2::ZERO, vec2(1280.0, 800.0));
        let input = RawInput { screen_rect: Some(screen), time: Some(self.time), events, ..RawInput::default() };
        let mut actions = Vec::new();
        let context = self.context.clone();
        let mut output = context.run_ui(input, |_| actions.extend(show(&context, &self.board, &mut self.desk)));
        // There is no graphics card to bring them to.
        output.textures_delta.clear();
        self.words.clear();
        self.filled.clear();
        output.shapes.into_iter().for_each(|clipped| self.look(clipped.shape));
        actions
    }

    fn look(&mut self, shape: Shape) {
        match shape {
            Shape::Vec(shapes) => shapes.into_iter().for_each(|shape| self.look(shape)),
            Shape::Text(text) => self.words.push((text.galley.text().to_owned(), text.visual_bounding_rect())),
            Shape::Rect(rect) => self.filled.push((rect.rect, rect.fill)),
            _ => {}
        }
    }

    /// Lets time go by.
    pub fn wait(&mut self, seconds: f64) {
        self.time += seconds;
        self.frame(Vec::new());
        self.frame(Vec::new());
    }

    /// The place of these words on the screen.
    pub fn find(&self, words: &str) -> Option<Rect> {
        self.words.iter().find(|(shown, _)| shown.contains(words)).map(|(_, rect)| *rect)
    }

    pub fn center(&self, id: Id) -> Pos2 {
        self.context.read_response(id).expect("it is drawn").rect.center()
    }

    pub fn press(pos: Pos2, pressed: bool) -> Event {
        Event::PointerButton { pos, button: PointerButton::Primary, pressed, modifiers: Modifiers::NONE }
    }

    pub fn click(&mut self, pos: Pos2) -> Vec<Action> {
        let mut actions = self.frame(vec![Event::PointerMoved(pos)]);
        actions.extend(self.frame(vec![Self::press(pos, true)]));
        actions.extend(self.frame(vec![Self::press(pos, false)]));
        actions
    }

    /// Clicks on these words.
    pub fn click_on(&mut self, words: &str) -> Vec<Action> {
        let place = self.find(words).unwrap_or_else(|| panic!("{words:?} is not among {:?}", self.words));
        self.click(place.center())
    }

    pub fn key(&mut self, key: Key) -> Vec<Action> {
        self.key_with(key, Modifiers::NONE)
    }

    pub fn key_with(&mut self, key: Key, modifiers: Modifiers) -> Vec<Action> {
        let event = |pressed| Event::Key { key, physical_key: None, pressed, repeat: false, modifiers };
        self.frame(vec![event(true), event(false)])
    }

    pub fn drag(&mut self, from: Pos2, to: Pos2) -> Vec<Action> {
        let mut actions = self.frame(vec![Event::PointerMoved(from)]);
        actions.extend(self.frame(vec![Self::press(from, true)]));
        for step in [0.2, 0.6, 1.0, 1.0] {
            actions.extend(self.frame(vec![Event::PointerMoved(from.lerp(to, step))]));
        }
        actions.extend(self.frame(vec![Self::press(to, false)]));
        actions
    }
}
