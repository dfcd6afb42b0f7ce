//! The documents: real components, as several versions of an app have them.

use bevy::prelude::Component;
use rand::{Rng, rngs::StdRng};
use serde::{Deserialize, Serialize};

use super::oracle::Note;
use crate::{ecs::Replicated, format::Counter};

/// A note as the first version of the app has it.
#[derive(Component, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub(super) struct OldNote {
    pub(super) text: String,
    pub(super) votes: Counter,
    pub(super) items: Vec<i64>,
    pub(super) own: i64,
    pub(super) done: bool,
}

/// A note as a later version has it.
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
}

#[derive(Component, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub(super) struct Settings {
    pub(super) theme: String,
    pub(super) volume: i64,
}

/// What the user's edits need of a version's component.
pub(super) trait Version: Replicated + Default {
    fn text(&mut self) -> &mut String;
    fn votes(&mut self) -> &mut Counter;
    fn items(&mut self) -> &mut Vec<i64>;
    fn own(&mut self) -> &mut i64;
    fn done(&mut self) -> &mut bool;
    /// Edits what only this version has.
    fn extra(&mut self, rng: &mut StdRng);
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
            fn extra(&mut self, $rng: &mut StdRng) {
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
version!(OldNote, |note, rng| note.done = rng.random());
version!(NewNote, |note, rng| {
    note.colour = rng.random_range(0..100);
    note.remark = rng.random_bool(0.5).then(|| format!("{}", rng.random_range(0..100)));
});

/// Which fields an app has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fields {
    Old,
    New,
}
