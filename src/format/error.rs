use std::fmt::Display;

use crate::limits::NESTING;

/// The reason why a value and a document do not fit each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) })]
#[non_exhaustive]
pub struct FormatError {
    /// The place in the document, e.g. `columns[2].title`. Empty if the error concerns the whole value.
    pub path: String,
    /// The problem, and how to fix it.
    pub message: String,
    /// The field that occurs twice, if that is the problem.
    pub(super) doubled: Option<&'static str>,
}

impl FormatError {
    /// An error that concerns the whole value.
    pub fn new(message: impl Display) -> Self {
        FormatError::at("", message)
    }

    /// An error at a place in the document.
    pub fn at(path: impl Into<String>, message: impl Display) -> Self {
        FormatError { path: path.into(), message: message.to_string(), doubled: None }
    }

    /// Prepends the key of the map that contains the error's place.
    pub(super) fn in_field(self, key: &str) -> Self {
        let path = match self.path.as_str() {
            "" => key.to_owned(),
            inner if inner.starts_with('[') => format!("{key}{inner}"),
            inner => format!("{key}.{inner}"),
        };
        FormatError { path, ..self }
    }

    /// Prepends the index in the list that contains the error's place.
    pub(super) fn in_item(self, index: usize) -> Self {
        self.in_field(&format!("[{index}]"))
    }

    /// A value has more levels than a document may have.
    pub(super) fn too_deep() -> Self {
        FormatError::new(format_args!("nested deeper than {NESTING} levels, which is the maximum"))
    }

    /// An Automerge operation failed. This happens only if the document is inconsistent.
    pub(super) fn of_document(error: automerge::AutomergeError) -> Self {
        FormatError::new(format_args!("the document cannot be edited: {error}"))
    }
}

impl serde::ser::Error for FormatError {
    fn custom<T: Display>(message: T) -> Self {
        FormatError::new(message)
    }
}

impl serde::de::Error for FormatError {
    fn custom<T: Display>(message: T) -> Self {
        FormatError::new(message)
    }

    fn duplicate_field(field: &'static str) -> Self {
        FormatError { doubled: Some(field), ..FormatError::new(format_args!("duplicate field `{field}`")) }
    }
}
