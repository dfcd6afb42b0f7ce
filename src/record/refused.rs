//! A backend's refusal of a document, as it is kept until it is settled.

use super::{Refusal, RefusalCode};

/// A backend does not take a document's unsent changes. This stays until they are accepted or discarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedWrite {
    /// When the backend first refused them, in milliseconds since 1970.
    pub since: i64,
    /// The kind of the refusal.
    pub code: RefusalCode,
    /// The backend's reason, for people.
    pub reason: String,
}

impl RefusedWrite {
    /// A refusal that was received at `now`, in milliseconds since 1970.
    pub fn new(refusal: &Refusal, now: i64) -> Self {
        Self { since: now, code: refusal.code.clone(), reason: refusal.message.clone() }
    }
}
