//! The documents: real components, in the forms that several versions of an app have.

use bevy::prelude::Component;
use rand::{Rng, rngs::StdRng};
use serde::{Deserialize, Serialize};

use super::oracle::{Done, Note};
use crate::{ecs::Replicated, format::Counter};

/// A note in the first version of the app.
#[derive(Component, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub(super) struct OldNote {
    pub(super) text: String,
    pub(super) votes: Counter,
    pub(super) items: Vec<i64>,
    pub(super) own: i64,
    pub(super) done: bool,
}

/// A note in a later version of the app.
#[derive(Component, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub(super) struct NewNote {
    pub(super) text: String,
    pub(super) votes: Counter,
    pub(super) items: Vec<i64>,
    pub(super) own: i64,
    pub(super) done: bool,
    #[serde(default)]
    pub(super) colour: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) remark: Option<String>,
    #[serde(default)]
    pub(super) later: Later,
}

/// The fields that an update has added. Several apps of the later version may be the first to use them at the same
/// time.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub(super) struct Later {
    pub(super) tags: Vec<i64>,
    /// A user always sets both numbers to the same value.
    pub(super) place: Place,
    pub(super) shape: Shape,
    pub(super) row: [i64; 3],
}

/// A struct that is written as one register.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub(super) struct Place(pub(super) i64, pub(super) i64);

/// Two variants. They have one field in common, and their other fields differ. A user sets all fields of a variant to
/// the same value.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(tag = "kind")]
pub(super) enum Shape {
    #[default]
    None,
    Circle {
        size: i64,
        radius: i64,
    },
    Square {
        size: i64,
        side: i64,
    },
}

#[derive(Component, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub(super) struct Settings {
    pub(super) theme: String,
    pub(super) volume: i64,
}

/// The functions that the user's edits need of a version's component.
pub(super) trait Version: Replicated + Default {
    fn text(&mut self) -> &mut String;
    fn votes(&mut self) -> &mut Counter;
    fn items(&mut self) -> &mut Vec<i64>;
    fn own(&mut self) -> &mut i64;
    fn done(&mut self) -> &mut bool;
    /// Edits the fields that only this version has.
    fn extra(&mut self, rng: &mut StdRng) -> Option<Done>;
    fn note(&self) -> Note;
}

macro_rules! version {
    ($note:ident, |$self:ident, $rng:ident| $extra:expr) => {
        impl Version for $note {
            fn text(&mut self) -> &mut String {
                &mut self.text
            }
            fn votes(&mut self) -> &mut Counter {
                &mut self.votes
            }
            fn items(&mut self) -> &mut Vec<i64> {
                &mut self.items
            }
            fn own(&mut self) -> &mut i64 {
                &mut self.own
            }
            fn done(&mut self) -> &mut bool {
                &mut self.done
            }
            fn extra(&mut self, $rng: &mut StdRng) -> Option<Done> {
                let $self = self;
                $extra
            }
            fn note(&self) -> Note {
                Note {
                    text: self.text.clone(),
                    votes: self.votes.0,
                    items: self.items.clone(),
                    own: self.own,
                    done: self.done,
                }
            }
        }
    };
}
version!(OldNote, |note, rng| {
    note.done = rng.random();
    None
});
version!(NewNote, |note, rng| {
    let fresh = i64::from(rng.random::<u32>());
    match rng.random_range(0..5) {
        0 => note.later.tags.push(fresh),
        1 => note.later.place = Place(fresh, fresh),
        2 if rng.random() => note.later.shape = Shape::Circle { size: fresh, radius: fresh },
        2 => note.later.shape = Shape::Square { size: fresh, side: fresh },
        3 => note.later.row[rng.random_range(0..3)] = fresh,
        _ => {
            note.colour = rng.random_range(0..100);
            note.remark = rng.random_bool(0.5).then(|| format!("{}", rng.random_range(0..100)));
        }
    }
    note.later.tags.last().filter(|tag| **tag == fresh).map(|tag| Done::Tag(*tag))
});

/// The version of the fields that an app has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoteVersion {
    Old,
    New,
}
