//! The content of the board: a snapshot from which the pictures are drawn and actions are planned.
//!
//! The view knows nothing of the ECS or the network, and the code that draws it cannot change it. It is updated card by
//! card, so the change of one card of ten thousand costs the work of one card.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use bevy::prelude::*;
use bevy_convex_replicate::prelude::*;

use crate::model::{Card, Column, Tint};

/// The column for cards whose column was deleted while another user put them there.
pub const STRAYS: &str = "";

/// The board as it is now.
#[derive(Default)]
pub struct BoardView {
    /// The columns in the order they are shown. If there are cards without a column, a column with the id [`STRAYS`]
    /// comes first.
    pub columns: Vec<ColumnView>,
    /// Whether everything that was on disk is here.
    pub is_ready: bool,
    pub people: Vec<PersonView>,
    pub sync: SyncView,
}

/// A column and its cards.
#[derive(Clone, Debug)]
pub struct ColumnView {
    pub id: DocumentId,
    pub title: String,
    pub order: String,
    pub tint: Tint,
    /// In the order they are shown.
    pub cards: Vec<Arc<CardView>>,
    /// Different whenever `cards` is.
    pub revision: u64,
}

/// A card.
#[derive(Clone, Debug, PartialEq)]
pub struct CardView {
    pub id: DocumentId,
    pub column: String,
    pub order: String,
    pub title: String,
    pub notes: String,
    pub is_done: bool,
    pub label: Option<Tint>,
}

/// Somebody, as the board shows them.
#[derive(Clone, Debug, PartialEq)]
pub struct PersonView {
    pub id: DocumentId,
    pub name: String,
    pub tint: Tint,
    pub is_me: bool,
    /// For how long nothing was heard of them; `None`: they are here.
    pub away: Option<std::time::Duration>,
}

/// The state of the board's connection and storage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SyncView {
    pub link: Link,
    /// Why it is not live, in words, if it is not on purpose.
    pub reason: Option<String>,
    /// Whether there is nothing to connect to.
    pub is_local: bool,
    /// Whether it was asked to stay offline.
    pub is_paused: bool,
    /// Documents that wait to be sent.
    pub unsent: usize,
    /// Edits that are not on disk yet.
    pub unsaved: u64,
    /// Edits that never will be.
    pub lost: u64,
    /// Whether there is a disk for all of them.
    pub is_kept: bool,
    /// The share of the deployment's documents that has arrived, from 0 to 1, while they arrive.
    pub progress: Option<f32>,
    pub received: u64,
    pub total: Option<u64>,
    /// Where the board is kept, e.g. `127.0.0.1:3210`, and by whom.
    pub place: String,
    pub problems: Vec<Problem>,
}

/// The connection, in a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    #[default]
    Offline,
    Connecting,
    CatchingUp,
    Live,
}

/// Something that did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub title: String,
    /// The problem and its remedy.
    pub message: String,
    /// The action of a button, if one can help.
    pub remedy: Option<Remedy>,
}

/// A remedy for a problem that a person can apply on the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Offer refused edits again.
    Retry,
    /// Set a damaged file aside and make a new one.
    Rebuild,
}

impl BoardView {
    pub fn column(&self, id: &str) -> Option<&ColumnView> {
        self.columns.iter().find(|column| column.id.as_str() == id)
    }

    pub fn card(&self, id: &DocumentId) -> Option<&Arc<CardView>> {
        self.columns.iter().flat_map(|column| &column.cards).find(|card| card.id == *id)
    }

    pub fn card_count(&self) -> usize {
        self.columns.iter().map(|column| column.cards.len()).sum()
    }
}

/// Updates a [`BoardView`] from the components. An edit updates only the changed parts.
#[derive(Default)]
pub struct BoardIndex {
    columns: HashMap<Entity, (DocumentId, Column)>,
    cards: HashMap<Entity, Arc<CardView>>,
    /// By column, then in the order they are shown.
    sorted: HashMap<String, BTreeMap<(String, DocumentId), Arc<CardView>>>,
    columns_changed: bool,
    /// Columns whose cards changed.
    changed: HashSet<String>,
    revision: u64,
}

impl BoardIndex {
    pub fn put_column(&mut self, entity: Entity, id: &DocumentId, column: &Column) {
        self.columns.insert(entity, (id.clone(), column.clone()));
        self.columns_changed = true;
    }

    pub fn put_card(&mut self, entity: Entity, id: &DocumentId, card: &Card) {
        let view = Arc::new(CardView {
            id: id.clone(),
            column: card.column.0.clone(),
            order: card.order.0.clone(),
            title: card.title.clone(),
            notes: card.notes.clone(),
            is_done: card.is_done,
            label: card.label,
        });
        if self.cards.get(&entity).is_some_and(|old| *old == view) {
            return;
        }
        self.remove_card(entity);
        let place = (view.order.clone(), id.clone());
        self.sorted.entry(view.column.clone()).or_default().insert(place, view.clone());
        self.changed.insert(view.column.clone());
        self.cards.insert(entity, view);
    }

    pub fn remove_column(&mut self, entity: Entity) {
        self.columns_changed |= self.columns.remove(&entity).is_some();
    }

    pub fn remove_card(&mut self, entity: Entity) {
        if let Some(old) = self.cards.remove(&entity) {
            if let Some(column) = self.sorted.get_mut(&old.column) {
                column.remove(&(old.order.clone(), old.id.clone()));
            }
            self.changed.insert(old.column.clone());
        }
    }

    /// Brings the view up to date. Returns whether anything had changed.
    pub fn update(&mut self, board: &mut BoardView) -> bool {
        if !self.columns_changed && self.changed.is_empty() {
            return false;
        }
        let mut old: HashMap<DocumentId, ColumnView> =
            board.columns.drain(..).map(|column| (column.id.clone(), column)).collect();
        for (id, column) in self.columns.values() {
            let (cards, revision) = match old.remove(id) {
                Some(kept) if !self.changed.contains(id.as_str()) => (kept.cards, kept.revision),
                _ => {
                    self.revision += 1;
                    let cards = self.sorted.get(id.as_str()).into_iter().flat_map(|cards| cards.values().cloned());
                    (cards.collect(), self.revision)
                }
            };
            board.columns.push(ColumnView {
                id: id.clone(),
                title: column.title.clone(),
                order: column.order.0.clone(),
                tint: column.tint,
                cards,
                revision,
            });
        }
        board.columns.sort_by(|a, b| (&a.order, &a.id).cmp(&(&b.order, &b.id)));

        let known: HashSet<&str> = self.columns.values().map(|(id, _)| id.as_str()).collect();
        let strays = self.sorted.iter().filter(|(column, _)| !known.contains(column.as_str()));
        let mut strays: Vec<_> = strays.flat_map(|(_, cards)| cards.values().cloned()).collect();
        if !strays.is_empty() {
            strays.sort_by(|a, b| (&a.order, &a.id).cmp(&(&b.order, &b.id)));
            self.revision += 1;
            let column = ColumnView {
                id: DocumentId::new(STRAYS),
                title: "Without a column".to_owned(),
                order: String::new(),
                tint: Tint::Grey,
                cards: strays,
                revision: self.revision,
            };
            board.columns.insert(0, column);
        }
        self.columns_changed = false;
        self.changed.clear();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(number: u32) -> Entity {
        Entity::from_raw_u32(number).expect("a small number")
    }

    fn column(order: &str) -> Column {
        Column { title: "Column".to_owned(), order: order.into(), tint: Tint::Blue }
    }

    fn card(column: &str, order: &str) -> Card {
        Card {
            title: "Card".to_owned(),
            notes: String::new(),
            column: column.into(),
            order: order.into(),
            is_done: false,
            label: None,
        }
    }

    fn shown(board: &BoardView) -> Vec<(String, Vec<String>)> {
        let ids = |column: &ColumnView| column.cards.iter().map(|card| card.id.to_string()).collect();
        board.columns.iter().map(|column| (column.id.to_string(), ids(column))).collect()
    }

    fn expected(columns: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        columns.iter().map(|(column, cards)| ((*column).to_owned(), ids(cards))).collect()
    }

    #[test]
    fn columns_and_cards_are_sorted_by_order_then_id() {
        let (mut index, mut board) = (BoardIndex::default(), BoardView::default());
        index.put_column(entity(1), &DocumentId::new("right"), &column("a1"));
        index.put_column(entity(2), &DocumentId::new("left"), &column("a0"));
        for (number, (id, order)) in [("z", "a0"), ("y", "a1"), ("x", "a1"), ("w", "Zz")].into_iter().enumerate() {
            let number = u32::try_from(number).expect("few") + 10;
            index.put_card(entity(number), &DocumentId::new(id), &card("left", order));
        }
        assert!(index.update(&mut board));
        assert_eq!(shown(&board), expected(&[("left", &["w", "z", "x", "y"]), ("right", &[])]));
        assert!(!index.update(&mut board), "nothing changed since");
    }

    #[test]
    fn a_moved_card_leaves_its_old_place_and_only_those_columns_change() {
        let (mut index, mut board) = (BoardIndex::default(), BoardView::default());
        for (number, id) in [(1, "a"), (2, "b"), (3, "c")] {
            index.put_column(entity(number), &DocumentId::new(id), &column(&format!("a{number}")));
        }
        index.put_card(entity(10), &DocumentId::new("one"), &card("a", "a0"));
        index.put_card(entity(11), &DocumentId::new("two"), &card("a", "a1"));
        index.update(&mut board);
        let untouched = board.columns[2].revision;
        index.put_card(entity(10), &DocumentId::new("one"), &card("b", "a5"));
        assert!(index.update(&mut board));
        assert_eq!(shown(&board), expected(&[("a", &["two"]), ("b", &["one"]), ("c", &[])]));
        assert_eq!(board.columns[2].revision, untouched);
        index.remove_card(entity(11));
        assert!(index.update(&mut board));
        assert_eq!(shown(&board), expected(&[("a", &[]), ("b", &["one"]), ("c", &[])]));
    }

    #[test]
    fn cards_whose_column_is_gone_are_still_shown() {
        let (mut index, mut board) = (BoardIndex::default(), BoardView::default());
        index.put_column(entity(1), &DocumentId::new("a"), &column("a0"));
        index.put_card(entity(10), &DocumentId::new("one"), &card("a", "a0"));
        index.put_card(entity(11), &DocumentId::new("two"), &card("gone", "a0"));
        index.update(&mut board);
        assert_eq!(shown(&board), expected(&[("", &["two"]), ("a", &["one"])]));
        index.remove_column(entity(1));
        index.update(&mut board);
        assert_eq!(shown(&board), expected(&[("", &["one", "two"])]));
        index.put_column(entity(1), &DocumentId::new("a"), &column("a0"));
        index.remove_card(entity(11));
        index.update(&mut board);
        assert_eq!(shown(&board), expected(&[("a", &["one"])]));
    }
}
