//! The actions of a person, and their effects on the documents.
//!
//! The pictures give back [`Action`]s. [`plan`] turns one into [`Edit`]s of single documents, looking only at the
//! view; the system that carries them out is in [`apply`](crate::apply).

use bevy_convex_replicate::{position as order, prelude::*};

use crate::{
    model::{Card, Column, Tint},
    view::{BoardView, ColumnView, STRAYS},
};

/// An action of a person.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Set up the three columns most boards start with.
    StartBoard,
    AddSamples,
    /// Many cards, to see how the board copes.
    Fill(usize),
    AddColumn {
        title: String,
    },
    RenameColumn {
        id: DocumentId,
        title: String,
    },
    TintColumn {
        id: DocumentId,
        tint: Tint,
    },
    /// `index` counts the columns without this one.
    MoveColumn {
        id: DocumentId,
        index: usize,
    },
    /// With its cards.
    DeleteColumn {
        id: DocumentId,
    },
    /// `index`: where, or at the end.
    AddCard {
        column: DocumentId,
        title: String,
        index: Option<usize>,
    },
    RetitleCard {
        id: DocumentId,
        title: String,
    },
    NoteCard {
        id: DocumentId,
        notes: String,
    },
    LabelCard {
        id: DocumentId,
        label: Option<Tint>,
    },
    CompleteCard {
        id: DocumentId,
        is_done: bool,
    },
    /// `index` counts the column's cards without this one.
    MoveCard {
        id: DocumentId,
        column: DocumentId,
        index: usize,
    },
    DeleteCard {
        id: DocumentId,
    },
    /// Bring back the document that was deleted last.
    Undo,
    DismissToast,
    DismissProblem(usize),
    /// Offer refused edits again.
    Retry,
    /// Set a damaged file aside and make a new one from the readable documents and those of the others.
    Rebuild,
    GoOffline(bool),
    /// Call me this from now on.
    IAm {
        name: String,
        tint: Tint,
    },
    Dark(bool),
}

/// A change of one document.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    InsertColumn(DocumentId, Column),
    InsertCard(DocumentId, Card),
    Column(DocumentId, ColumnChange),
    Card(DocumentId, CardChange),
    DeleteColumn(DocumentId),
    DeleteCard(DocumentId),
}

/// A change of a column. Only the named fields change, so concurrent changes of the others remain.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnChange {
    Title(String),
    Tint(Tint),
    Order(String),
}

/// A change of a card.
#[derive(Clone, Debug, PartialEq)]
pub enum CardChange {
    Title(String),
    Notes(String),
    Label(Option<Tint>),
    Done(bool),
    Place { column: String, order: String },
}

impl ColumnChange {
    pub fn apply(self, column: &mut Column) {
        match self {
            Self::Title(title) => column.title = title,
            Self::Tint(tint) => column.tint = tint,
            Self::Order(order) => column.order.0 = order,
        }
    }
}

impl CardChange {
    pub fn apply(self, card: &mut Card) {
        match self {
            Self::Title(title) => card.title = title,
            Self::Notes(notes) => card.notes = notes,
            Self::Label(label) => card.label = label,
            Self::Done(is_done) => card.is_done = is_done,
            Self::Place { column, order } => {
                card.column.0 = column;
                card.order.0 = order;
            }
        }
    }
}

/// The columns a board starts with. Their ids are fixed, so that two devices that start the same board apart end up
/// with three columns and not six.
pub const FIRST_COLUMNS: [(&str, &str, &str, Tint); 3] =
    [("todo", "To do", "a0", Tint::Blue), ("doing", "Doing", "a1", Tint::Amber), ("done", "Done", "a2", Tint::Green)];

/// The edits that an action causes. Empty for actions that concern no document, and for actions that come too late (a
/// card dropped onto a column that is gone).
pub fn plan(board: &BoardView, action: &Action) -> Vec<Edit> {
    match action {
        Action::StartBoard => FIRST_COLUMNS
            .into_iter()
            .filter(|(id, ..)| board.column(id).is_none())
            .map(|(id, title, order, tint)| {
                let column = Column { title: title.to_owned(), order: order.into(), tint };
                Edit::InsertColumn(DocumentId::new(id), column)
            })
            .collect(),
        Action::AddSamples => crate::sample::cards(board),
        Action::Fill(count) => crate::sample::fill(board, *count),
        Action::AddColumn { title } => {
            let columns: Vec<&ColumnView> = real_columns(board, None);
            let order = place_column(&columns, columns.len());
            let tint = Tint::ALL[columns.len() % Tint::ALL.len()];
            let column = Column { title: title.trim().to_owned(), order: order.0.into(), tint };
            let mut edits = order.1;
            edits.push(Edit::InsertColumn(DocumentId::random(), column));
            edits
        }
        Action::RenameColumn { id, title } => {
            vec![Edit::Column(id.clone(), ColumnChange::Title(title.trim().to_owned()))]
        }
        Action::TintColumn { id, tint } => vec![Edit::Column(id.clone(), ColumnChange::Tint(*tint))],
        Action::MoveColumn { id, index } => {
            if real_columns(board, None).iter().position(|column| column.id == *id) == Some(*index) {
                return Vec::new();
            }
            let (order, mut edits) = place_column(&real_columns(board, Some(id)), *index);
            edits.push(Edit::Column(id.clone(), ColumnChange::Order(order)));
            edits
        }
        Action::DeleteColumn { id } => {
            let Some(column) = board.column(id.as_str()) else { return Vec::new() };
            let cards = column.cards.iter().map(|card| Edit::DeleteCard(card.id.clone()));
            let itself = (id.as_str() != STRAYS).then(|| Edit::DeleteColumn(id.clone()));
            cards.chain(itself).collect()
        }
        Action::AddCard { column, title, index } => {
            let Some(place) = place_card(board, None, column, *index) else { return Vec::new() };
            let card = Card {
                title: title.trim().to_owned(),
                notes: String::new(),
                column: column.as_str().into(),
                order: place.0.into(),
                is_done: false,
                label: None,
            };
            let mut edits = place.1;
            edits.push(Edit::InsertCard(DocumentId::random(), card));
            edits
        }
        Action::RetitleCard { id, title } => vec![Edit::Card(id.clone(), CardChange::Title(title.clone()))],
        Action::NoteCard { id, notes } => vec![Edit::Card(id.clone(), CardChange::Notes(notes.clone()))],
        Action::LabelCard { id, label } => vec![Edit::Card(id.clone(), CardChange::Label(*label))],
        Action::CompleteCard { id, is_done } => vec![Edit::Card(id.clone(), CardChange::Done(*is_done))],
        Action::MoveCard { id, column, index } => {
            let Some(to) = board.column(column.as_str()) else { return Vec::new() };
            if column.as_str() == STRAYS || to.cards.iter().position(|card| card.id == *id) == Some(*index) {
                return Vec::new();
            }
            let Some((order, mut edits)) = place_card(board, Some(id), column, Some(*index)) else {
                return Vec::new();
            };
            let column = column.as_str().to_owned();
            edits.push(Edit::Card(id.clone(), CardChange::Place { column, order }));
            edits
        }
        Action::DeleteCard { id } => vec![Edit::DeleteCard(id.clone())],
        Action::Undo
        | Action::DismissToast
        | Action::DismissProblem(_)
        | Action::Retry
        | Action::Rebuild
        | Action::GoOffline(_)
        | Action::IAm { .. }
        | Action::Dark(_) => Vec::new(),
    }
}

fn real_columns<'a>(board: &'a BoardView, without: Option<&DocumentId>) -> Vec<&'a ColumnView> {
    let kept = |column: &&ColumnView| column.id.as_str() != STRAYS && Some(&column.id) != without;
    board.columns.iter().filter(kept).collect()
}

fn place_column(columns: &[&ColumnView], index: usize) -> (String, Vec<Edit>) {
    let keys: Vec<&str> = columns.iter().map(|column| column.order.as_str()).collect();
    let placement = order::place(&keys, index);
    let moved = placement.moved.into_iter();
    let edits = moved.map(|(i, key)| Edit::Column(columns[i].id.clone(), ColumnChange::Order(key))).collect();
    (placement.key, edits)
}

fn place_card(
    board: &BoardView,
    card: Option<&DocumentId>,
    column: &DocumentId,
    index: Option<usize>,
) -> Option<(String, Vec<Edit>)> {
    let cards: Vec<_> = board.column(column.as_str())?.cards.iter().filter(|other| Some(&other.id) != card).collect();
    let keys: Vec<&str> = cards.iter().map(|card| card.order.as_str()).collect();
    let placement = order::place(&keys, index.unwrap_or(keys.len()));
    let moved = placement.moved.into_iter();
    let edit = |(i, order): (usize, String)| {
        Edit::Card(cards[i].id.clone(), CardChange::Place { column: column.as_str().to_owned(), order })
    };
    Some((placement.key, moved.map(edit).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::BoardIndex;
    use bevy::prelude::Entity;
    use std::collections::BTreeMap;

    /// Documents, and a view that is updated with them. It stands in for the app.
    #[derive(Default)]
    struct Bench {
        columns: BTreeMap<DocumentId, Column>,
        cards: BTreeMap<DocumentId, Card>,
    }

    impl Bench {
        fn with(columns: &[(&str, &[&str])]) -> Self {
            let mut bench = Self::default();
            for (i, (column, cards)) in columns.iter().enumerate() {
                let value = Column { title: (*column).to_owned(), order: format!("a{i}").into(), tint: Tint::Blue };
                bench.columns.insert(DocumentId::new(*column), value);
                for (j, card) in cards.iter().enumerate() {
                    let value = Card {
                        title: (*card).to_owned(),
                        notes: String::new(),
                        column: (*column).into(),
                        order: format!("a{j}").into(),
                        is_done: false,
                        label: None,
                    };
                    bench.cards.insert(DocumentId::new(*card), value);
                }
            }
            bench
        }

        fn view(&self) -> BoardView {
            let (mut index, mut board) = (BoardIndex::default(), BoardView::default());
            let mut entities = (1..).filter_map(Entity::from_raw_u32);
            for (id, column) in &self.columns {
                index.put_column(entities.next().expect("endless"), id, column);
            }
            for (id, card) in &self.cards {
                index.put_card(entities.next().expect("endless"), id, card);
            }
            index.update(&mut board);
            board
        }

        fn act(&mut self, action: Action) -> Vec<Edit> {
            let edits = plan(&self.view(), &action);
            for edit in edits.clone() {
                match edit {
                    Edit::InsertColumn(id, column) => drop(self.columns.insert(id, column)),
                    Edit::InsertCard(id, card) => drop(self.cards.insert(id, card)),
                    Edit::Column(id, change) => change.apply(self.columns.get_mut(&id).expect("it is there")),
                    Edit::Card(id, change) => change.apply(self.cards.get_mut(&id).expect("it is there")),
                    Edit::DeleteColumn(id) => drop(self.columns.remove(&id)),
                    Edit::DeleteCard(id) => drop(self.cards.remove(&id)),
                }
            }
            edits
        }

        fn titles(&self) -> Vec<(String, Vec<String>)> {
            let cards = |column: &ColumnView| column.cards.iter().map(|card| card.title.clone()).collect();
            self.view().columns.iter().map(|column| (column.title.clone(), cards(column))).collect()
        }
    }

    fn titles(columns: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
        let owned = |titles: &[&str]| titles.iter().map(|title| (*title).to_owned()).collect();
        columns.iter().map(|(column, cards)| ((*column).to_owned(), owned(cards))).collect()
    }

    fn id(id: &str) -> DocumentId {
        DocumentId::new(id)
    }

    #[test]
    fn a_new_board_has_three_columns_wherever_it_was_started() {
        let (mut here, mut there) = (Bench::default(), Bench::default());
        here.act(Action::StartBoard);
        there.act(Action::StartBoard);
        assert_eq!(here.columns, there.columns);
        assert_eq!(here.titles(), titles(&[("To do", &[]), ("Doing", &[]), ("Done", &[])]));
        assert_eq!(here.act(Action::StartBoard), []);
    }

    #[test]
    fn cards_are_added_at_the_end_or_where_asked() {
        let mut bench = Bench::with(&[("a", &["one", "two"])]);
        bench.act(Action::AddCard { column: id("a"), title: "  last ".to_owned(), index: None });
        bench.act(Action::AddCard { column: id("a"), title: "first".to_owned(), index: Some(0) });
        assert_eq!(bench.titles(), titles(&[("a", &["first", "one", "two", "last"])]));
    }

    #[test]
    fn moving_a_card_edits_that_card_alone() {
        let mut bench = Bench::with(&[("a", &["one", "two", "three"]), ("b", &["four"])]);
        let edits = bench.act(Action::MoveCard { id: id("one"), column: id("a"), index: 1 });
        assert_eq!(edits.len(), 1);
        assert_eq!(bench.titles(), titles(&[("a", &["two", "one", "three"]), ("b", &["four"])]));
        let edits = bench.act(Action::MoveCard { id: id("two"), column: id("b"), index: 1 });
        assert_eq!(edits.len(), 1);
        assert_eq!(bench.titles(), titles(&[("a", &["one", "three"]), ("b", &["four", "two"])]));
    }

    #[test]
    fn a_card_put_where_it_was_is_not_edited() {
        let mut bench = Bench::with(&[("a", &["one", "two"])]);
        assert_eq!(bench.act(Action::MoveCard { id: id("two"), column: id("a"), index: 1 }), []);
    }

    #[test]
    fn a_card_dropped_on_a_column_that_is_gone_stays_where_it_was() {
        let mut bench = Bench::with(&[("a", &["one"])]);
        assert_eq!(bench.act(Action::MoveCard { id: id("one"), column: id("gone"), index: 0 }), []);
        assert_eq!(bench.titles(), titles(&[("a", &["one"])]));
    }

    #[test]
    fn a_card_fits_between_two_that_were_put_in_one_place_at_once() {
        let mut bench = Bench::with(&[("a", &["one", "two", "three"])]);
        for card in bench.cards.values_mut() {
            card.order = "a0".into();
        }
        let before = bench.titles()[0].1.clone();
        let moved = DocumentId::new(before[0].as_str());
        bench.act(Action::MoveCard { id: moved, column: id("a"), index: 1 });
        let after = bench.titles()[0].1.clone();
        assert_eq!(after, [before[1].clone(), before[0].clone(), before[2].clone()]);
    }

    #[test]
    fn columns_are_added_moved_and_renamed() {
        let mut bench = Bench::with(&[("a", &[]), ("b", &["one"])]);
        bench.act(Action::AddColumn { title: "c".to_owned() });
        bench.act(Action::MoveColumn { id: id("b"), index: 0 });
        bench.act(Action::RenameColumn { id: id("a"), title: " A ".to_owned() });
        assert_eq!(bench.titles(), titles(&[("b", &["one"]), ("A", &[]), ("c", &[])]));
        assert_eq!(bench.act(Action::MoveColumn { id: id("b"), index: 0 }), []);
    }

    #[test]
    fn deleting_a_column_deletes_its_cards_and_no_others() {
        let mut bench = Bench::with(&[("a", &["one", "two"]), ("b", &["three"])]);
        let edits = bench.act(Action::DeleteColumn { id: id("a") });
        assert_eq!(edits.len(), 3);
        assert_eq!(bench.titles(), titles(&[("b", &["three"])]));
    }

    #[test]
    fn completing_and_labelling_touch_nothing_else() {
        let mut bench = Bench::with(&[("a", &["one"])]);
        let before = bench.cards[&id("one")].clone();
        bench.act(Action::CompleteCard { id: id("one"), is_done: true });
        bench.act(Action::LabelCard { id: id("one"), label: Some(Tint::Red) });
        let after = Card { is_done: true, label: Some(Tint::Red), ..before };
        assert_eq!(bench.cards[&id("one")], after);
    }

    #[test]
    fn a_board_can_be_filled() {
        let mut bench = Bench::with(&[("a", &["one"]), ("b", &[])]);
        bench.act(Action::Fill(100));
        let view = bench.view();
        let counts: Vec<usize> = view.columns.iter().map(|column| column.cards.len()).collect();
        assert_eq!(counts, [51, 50]);
        assert_eq!(view.columns[0].cards[0].id, id("one"), "behind what was there");
    }

    #[test]
    fn sample_cards_come_once() {
        let mut bench = Bench::default();
        bench.act(Action::StartBoard);
        assert!(!bench.act(Action::AddSamples).is_empty());
        let view = bench.view();
        assert!(view.columns.iter().all(|column| !column.cards.is_empty()));
        assert_eq!(bench.act(Action::AddSamples), []);
    }
}
