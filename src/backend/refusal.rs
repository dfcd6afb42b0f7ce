//! Constructors for the backend's refusals.

use crate::{
    chunk::inspect::ChunkError,
    record::{Refusal, RefusalCode},
};

impl Refusal {
    pub(super) fn invalid_change(message: impl Into<String>) -> Self {
        Self::new(RefusalCode::InvalidChange, message)
    }

    pub(super) fn too_large(message: impl Into<String>, limit: usize) -> Self {
        Self::new(RefusalCode::TooLarge, message).over(limit as u64)
    }

    /// Adds the limit that was exceeded.
    pub(super) fn over(self, limit: u64) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// Adds the document that is concerned.
    pub(super) fn of(self, document: &str) -> Self {
        Self { document: Some(document.to_owned()), ..self }
    }
}

impl From<ChunkError> for Refusal {
    fn from(error: ChunkError) -> Self {
        let message = error.to_string();
        match error {
            ChunkError::Invalid(_) => Self::invalid_change(message),
            ChunkError::TooLarge { limit, .. } => Self::new(RefusalCode::TooLarge, message).over(limit),
        }
    }
}
