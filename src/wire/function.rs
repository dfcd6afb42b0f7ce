//! The functions that every collection has.

use std::fmt;

/// The name of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FunctionName {
    PushChanges,
    PullDeltas,
    InsertDocument,
    UpdateDocument,
    DeleteDocument,
    PullChanges,
    ChangeStream,
    SetPresence,
    ListPresence,
}

impl FunctionName {
    /// All of them.
    pub(crate) const ALL: [Self; 9] = [
        Self::PushChanges,
        Self::PullDeltas,
        Self::InsertDocument,
        Self::UpdateDocument,
        Self::DeleteDocument,
        Self::PullChanges,
        Self::ChangeStream,
        Self::SetPresence,
        Self::ListPresence,
    ];

    /// The function of this name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.as_str() == name)
    }

    /// The name in a call.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::PushChanges => "pushChanges",
            Self::PullDeltas => "pullDeltas",
            Self::InsertDocument => "insertDocument",
            Self::UpdateDocument => "updateDocument",
            Self::DeleteDocument => "deleteDocument",
            Self::PullChanges => "pullChanges",
            Self::ChangeStream => "changeStream",
            Self::SetPresence => "setPresence",
            Self::ListPresence => "listPresence",
        }
    }
}

/// A function of one collection: `tasks:pushChanges`.
#[derive(Clone, Copy)]
pub(crate) struct Function<'a> {
    pub(crate) module: &'a str,
    pub(crate) name: FunctionName,
}

impl fmt::Display for Function<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.module, self.name.as_str())
    }
}
