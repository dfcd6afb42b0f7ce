//! Rules that are ready for use.

use super::{Authorize, DocumentRow, ReadRequest, WriteRequest};
use crate::record::UserId;

/// Everybody who has a valid token, or everybody if the backend asks for none, may read and write everything. This is
/// the rule of a backend that is given no other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Everyone;

impl Authorize for Everyone {
    fn read(&self, _: &ReadRequest<'_>) -> bool {
        true
    }

    fn write(&self, _: &WriteRequest<'_>) -> bool {
        true
    }

    fn looks_at_rows(&self) -> bool {
        false
    }
}

/// Users with a name may read and write everything. A caller with the backend's one token, which has no name, may not.
#[derive(Clone, Copy, Debug, Default)]
pub struct SignedIn;

impl Authorize for SignedIn {
    fn admits(&self, user: Option<&UserId>) -> bool {
        user.is_some()
    }

    fn read(&self, request: &ReadRequest<'_>) -> bool {
        request.user.is_some()
    }

    fn write(&self, request: &WriteRequest<'_>) -> bool {
        request.user.is_some()
    }

    fn looks_at_rows(&self) -> bool {
        false
    }
}

/// Users with a name may read everything, and write only documents of their own: a root field of the document, such as
/// `owner`, has to be the user's `issuer|subject` before and after the write. So nobody takes a document over, gives
/// one away, or makes one in another's name.
#[derive(Clone, Debug)]
pub struct OwnRows {
    field: String,
}

impl OwnRows {
    /// The rule for documents that name their owner in this root field.
    pub fn by(field: impl Into<String>) -> Self {
        Self { field: field.into() }
    }

    fn owns(&self, user: &UserId, row: &DocumentRow<'_>) -> bool {
        row.text(&self.field) == Some(user.as_str())
    }
}

impl Authorize for OwnRows {
    fn admits(&self, user: Option<&UserId>) -> bool {
        user.is_some()
    }

    fn read(&self, request: &ReadRequest<'_>) -> bool {
        request.user.is_some()
    }

    fn write(&self, request: &WriteRequest<'_>) -> bool {
        request.user.is_some_and(|user| {
            self.owns(user, &request.after) && request.before.is_none_or(|before| self.owns(user, &before))
        })
    }
}
