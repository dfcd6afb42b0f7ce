//! The replicated components: columns, cards and people. A component only needs serde's derives.

use bevy::prelude::*;
use bevy_convex_replicate::prelude::*;

/// A column of the board.
#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Column {
    /// Typed by people, so concurrent edits merge letter by letter.
    #[serde(default)]
    pub title: String,
    /// Where it stands: see [`position`](bevy_convex_replicate::position). Replaced whole.
    #[serde(default)]
    pub order: Scalar<String>,
    #[serde(default)]
    pub tint: Tint,
}

/// A card.
#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Card {
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub notes: String,
    /// The document id of its column.
    #[serde(default)]
    pub column: Scalar<String>,
    /// Where it stands there.
    #[serde(default)]
    pub order: Scalar<String>,
    #[serde(default)]
    pub is_done: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Tint>,
}

/// A user of the board on one device. It is not part of anyone's work, but a document like the others. The window in
/// use writes the time into it now and then.
#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub tint: Tint,
    #[serde(default)]
    pub last_seen: Timestamp,
}

/// The colours to choose from. By name, so that both a light and a dark board can show them well.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub enum Tint {
    #[default]
    Blue,
    Teal,
    Green,
    Amber,
    Red,
    Pink,
    Violet,
    /// A colour that a newer board has and this one does not know.
    #[serde(other)]
    Grey,
}

impl Tint {
    pub const ALL: [Self; 8] =
        [Self::Blue, Self::Teal, Self::Green, Self::Amber, Self::Red, Self::Pink, Self::Violet, Self::Grey];

    /// The colour of an id, always the same one.
    pub fn of(id: &str) -> Self {
        let sum = id.bytes().fold(7_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        Self::ALL[sum % 7]
    }
}
