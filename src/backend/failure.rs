//! Why a call or a document is refused: the wire's codes.

use std::collections::BTreeMap;

use convex::Value;

use crate::chunk::inspect::ChunkError;

/// A refusal, as `docs/wire.md` lists them. A whole call that fails carries it as the data of a `ConvexError`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// E.g. `missingDependencies`.
    pub code: &'static str,
    /// What happened, for people.
    pub message: String,
    /// The document it is about.
    pub document: Option<String>,
    /// The bound that was crossed.
    pub limit: Option<u64>,
}

impl Failure {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), document: None, limit: None }
    }

    pub(super) fn invalid_change(message: impl Into<String>) -> Self {
        Self::new("invalidChange", message)
    }

    pub(super) fn too_large(message: impl Into<String>, limit: usize) -> Self {
        Self { limit: Some(limit as u64), ..Self::new("tooLarge", message) }
    }

    pub(super) fn of(self, document: &str) -> Self {
        Self { document: Some(document.to_owned()), ..self }
    }

    /// The fields that results of `pushChanges` and error data share.
    pub(super) fn fields(&self) -> BTreeMap<String, Value> {
        let mut fields = BTreeMap::from([
            ("code".to_owned(), Value::from(self.code)),
            ("message".to_owned(), Value::from(self.message.clone())),
        ]);
        if let Some(limit) = self.limit {
            fields.insert("limit".to_owned(), Value::Float64(limit as f64));
        }
        fields
    }

    /// The data of a `ConvexError`.
    pub(super) fn data(&self) -> Value {
        let mut fields = self.fields();
        if let Some(document) = &self.document {
            fields.insert("document".to_owned(), Value::from(document.clone()));
        }
        Value::Object(fields)
    }
}

impl From<ChunkError> for Failure {
    fn from(error: ChunkError) -> Self {
        let message = error.to_string();
        match error {
            ChunkError::Invalid(_) => Self::invalid_change(message),
            ChunkError::TooLarge { limit, .. } => Self { limit: Some(limit), ..Self::new("tooLarge", message) },
        }
    }
}
