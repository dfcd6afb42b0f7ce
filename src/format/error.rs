use std::fmt::Display;

/// Why a value and a document do not fit each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) })]
pub struct FormatError {
    /// Where in the document, e.g. `columns[2].title`; empty for the whole.
    pub path: String,
    /// What does not fit, and what to do.
    pub message: String,
}

impl FormatError {
    pub(super) fn new(message: impl Display) -> Self {
        FormatError { path: String::new(), message: message.to_string() }
    }

    /// The same, seen from the map that holds the place in `key`.
    pub(super) fn in_field(self, key: &str) -> Self {
        let path = match self.path.as_str() {
            "" => key.to_owned(),
            inner if inner.starts_with('[') => format!("{key}{inner}"),
            inner => format!("{key}.{inner}"),
        };
        FormatError { path, ..self }
    }

    /// The same, seen from the list that holds the place at `index`.
    pub(super) fn in_item(self, index: usize) -> Self {
        self.in_field(&format!("[{index}]"))
    }

    /// An Automerge operation failed, which only a document in disorder does.
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
}
