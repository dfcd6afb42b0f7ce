//! Presence: what an app shows to others while it is connected, and what is never stored.

use std::{fmt, sync::Arc};

use sha2::{Digest, Sha256};

use super::UserId;
use crate::id::CollectionIndex;

/// Names an app that others see, for as long as it runs. It stays the same when the app connects again.
///
/// An app proves that it is this peer with a secret that only it and the backend know, and the id is a hash of it. So
/// nobody can show something in another's place.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "bevy", derive(bevy::prelude::Component))]
pub struct PeerId(Arc<str>);

impl PeerId {
    /// The peer with this secret.
    pub(crate) fn of_session(session: &str) -> Self {
        use fmt::Write;
        let hash = Sha256::new().chain_update("presence ").chain_update(session).finalize();
        let mut text = String::with_capacity(32);
        for byte in &hash[..16] {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text.into())
    }

    /// The peer with this name, as an answer has it.
    pub(crate) fn recorded(text: &str) -> Self {
        Self(text.into())
    }

    /// The name as text: 32 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({})", self.0)
    }
}

/// A peer as a backend shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub id: PeerId,
    /// The verified user, if the backend knows one.
    pub user: Option<UserId>,
    /// Its value: JSON.
    pub value: Arc<str>,
}

/// What an app shows in a collection's area, on its way from the world to the backend. A later one replaces it.
#[derive(Clone, Debug, PartialEq)]
pub struct Showing {
    /// The collection.
    pub collection: CollectionIndex,
    /// The scope in which others see it; `None`: no scope.
    pub scope: Option<String>,
    /// JSON. `None`: the app shows nothing, and sees the others.
    pub value: Option<Arc<str>>,
    /// Values a second at most. The backend may allow fewer.
    pub rate: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_the_name_that_convex_computes() {
        // `convex/tests/presence.test.ts` has the same.
        assert_eq!(PeerId::of_session("0123456789abcdef").as_str(), "d448084c8681203ed237c4b8487f678b");
    }
}
