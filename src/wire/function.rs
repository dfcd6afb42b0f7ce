//! The functions that every collection has.

use std::{fmt, sync::LazyLock};

use super::{original, pull, push, validator::Validator};

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
}

impl FunctionName {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::PushChanges,
        Self::PullDeltas,
        Self::InsertDocument,
        Self::UpdateDocument,
        Self::DeleteDocument,
        Self::PullChanges,
        Self::ChangeStream,
    ];

    /// The function of this name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.as_str() == name)
    }

    /// The name as a call has it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::PushChanges => "pushChanges",
            Self::PullDeltas => "pullDeltas",
            Self::InsertDocument => "insertDocument",
            Self::UpdateDocument => "updateDocument",
            Self::DeleteDocument => "deleteDocument",
            Self::PullChanges => "pullChanges",
            Self::ChangeStream => "changeStream",
        }
    }

    /// What its arguments have to be.
    pub(super) fn validator(self) -> &'static Validator {
        static PUSH_CHANGES: LazyLock<Validator> = LazyLock::new(push::validator);
        static PULL_DELTAS: LazyLock<Validator> = LazyLock::new(pull::validator);
        static PUT_DOCUMENT: LazyLock<Validator> = LazyLock::new(original::put_validator);
        static DELETE_DOCUMENT: LazyLock<Validator> = LazyLock::new(original::delete_validator);
        static PULL_CHANGES: LazyLock<Validator> = LazyLock::new(original::pull_validator);
        static CHANGE_STREAM: LazyLock<Validator> = LazyLock::new(original::stream_validator);
        match self {
            Self::PushChanges => &PUSH_CHANGES,
            Self::PullDeltas => &PULL_DELTAS,
            Self::InsertDocument | Self::UpdateDocument => &PUT_DOCUMENT,
            Self::DeleteDocument => &DELETE_DOCUMENT,
            Self::PullChanges => &PULL_CHANGES,
            Self::ChangeStream => &CHANGE_STREAM,
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
