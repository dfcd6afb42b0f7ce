//! Sample cards, for users who ask for them and for the picture of the board.

use std::time::{SystemTime, UNIX_EPOCH};

use bevy_convex_replicate::{position as order, prelude::*};

use crate::{
    action::Edit,
    model::{Card, Person, Tint},
    view::{BoardView, STRAYS},
};

struct Sample(usize, &'static str, &'static str, Option<Tint>, bool);

/// Which column from the left, title, notes, label, done.
const SAMPLES: &[Sample] = &[
    Sample(
        0,
        "Plan the autumn release",
        "Pick the three things people ask for most, and leave the rest for winter.",
        Some(Tint::Violet),
        false,
    ),
    Sample(
        0,
        "Write the guide for new contributors",
        "From an empty checkout to a first pull request in ten minutes.",
        Some(Tint::Teal),
        false,
    ),
    Sample(0, "Ask Mara about the harbour level", "", None, false),
    Sample(
        0,
        "Try the board on a train, without a network",
        "Edit here, edit there, then see both meet.",
        Some(Tint::Blue),
        false,
    ),
    Sample(0, "Order more stickers", "", Some(Tint::Pink), false),
    Sample(
        1,
        "Softer shadows at dusk",
        "The lighthouse looks flat after 18:00. Compare with the reference photos in the shared folder.",
        Some(Tint::Amber),
        false,
    ),
    Sample(
        1,
        "Save games survive a power cut",
        "Kill it at any moment, start it again: nothing is missing.",
        Some(Tint::Green),
        false,
    ),
    Sample(1, "Measure start-up with 10,000 documents", "", Some(Tint::Blue), false),
    Sample(1, "Translate the menus", "Welsh and Basque are in, Finnish is half way.", Some(Tint::Pink), false),
    Sample(2, "Rain on the deck", "", Some(Tint::Blue), true),
    Sample(2, "Drag cards between columns", "", Some(Tint::Violet), true),
    Sample(2, "Two people typing in one card", "Every letter of both arrives.", Some(Tint::Teal), true),
    Sample(2, "Pick a name for the boat", "", None, true),
];

/// The cards that are not there yet, as edits. Their ids are fixed: two who ask for them at once get one set.
pub fn cards(board: &BoardView) -> Vec<Edit> {
    let columns: Vec<_> = board.columns.iter().filter(|column| column.id.as_str() != STRAYS).collect();
    let Some(last) = columns.len().checked_sub(1) else { return Vec::new() };
    SAMPLES
        .iter()
        .enumerate()
        .filter_map(|(i, Sample(column, title, notes, label, is_done))| {
            let id = DocumentId::new(format!("sample-{}", i + 1));
            let column = &columns[(*column).min(last)].id;
            let card = Card {
                title: (*title).to_owned(),
                notes: (*notes).to_owned(),
                column: column.as_str().into(),
                order: format!("b{i:02}").into(),
                is_done: *is_done,
                label: *label,
            };
            board.card(&id).is_none().then_some(Edit::InsertCard(id, card))
        })
        .collect()
}

/// As many cards as asked for, spread over the columns.
pub fn fill(board: &BoardView, count: usize) -> Vec<Edit> {
    let columns: Vec<_> = board.columns.iter().filter(|column| column.id.as_str() != STRAYS).collect();
    let mut edits = Vec::with_capacity(count);
    for (i, column) in columns.iter().enumerate() {
        let share = count / columns.len() + usize::from(i < count % columns.len());
        let last = column.cards.last().map(|card| card.order.as_str());
        // Keys of no known form end in no order at all, and are put right when a card is moved there.
        let keys = order::keys_between(last, None, share).unwrap_or_else(|| vec!["a0".to_owned(); share]);
        edits.extend(keys.into_iter().enumerate().map(|(number, key)| {
            let Sample(_, title, notes, label, _) = &SAMPLES[number % SAMPLES.len()];
            let card = Card {
                title: format!("{title}, number {}", number + 1),
                notes: (*notes).to_owned(),
                column: column.id.as_str().into(),
                order: key.into(),
                is_done: false,
                label: *label,
            };
            Edit::InsertCard(DocumentId::random(), card)
        }));
    }
    edits
}

/// The colour of the user who takes the picture. No other person there has it.
pub const MY_TINT: Tint = Tint::Violet;

/// Company for the picture of the board.
pub fn people() -> Vec<(DocumentId, Person)> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    [("Mara Lind", Tint::Teal, 0), ("Jonas Vale", Tint::Amber, 0), ("Ines Roth", Tint::Pink, 20 * 60_000)]
        .into_iter()
        .map(|(name, tint, ago)| {
            let id = DocumentId::new(format!("sample-{}", name.to_lowercase().replace(' ', "-")));
            (id, Person { name: name.to_owned(), tint, last_seen: Timestamp(now - ago) })
        })
        .collect()
}
