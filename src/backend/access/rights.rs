//! The rule of a backend, applied to one caller.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{ReadRequest, WriteRequest, rules::Everyone};
use crate::record::{Refusal, RefusalCode, UserId};

/// A rule: what callers may read and write.
///
/// A write always asks [`read`](Self::read) about the document's scope first. So nobody writes into a scope that the
/// rule does not let them read, whatever [`write`](Self::write) says.
///
/// The rule is asked by the threads that serve connections and by the one thread that writes, so it should answer from
/// memory. The log is locked meanwhile: a rule that waits for the backend, e.g. for its `rows`, waits for ever. It is
/// asked again at each call, and at each new result of an open query. If the rule panics, the request is refused.
///
/// ```
/// use bevy_convex_replicate::backend::{Authorize, BackendConfig, ReadRequest, WriteRequest};
///
/// /// Each user has a scope, named after the user. Others see and change nothing in it.
/// struct OwnScope;
///
/// impl Authorize for OwnScope {
///     fn read(&self, request: &ReadRequest<'_>) -> bool {
///         request.user.is_some_and(|user| request.scope == Some(user.as_str()))
///     }
///
///     fn write(&self, request: &WriteRequest<'_>) -> bool {
///         // The scope was asked for already. Here, nobody changes a field that only the server sets.
///         !request.changed.iter().any(|field| field == "score")
///     }
/// }
///
/// let config = BackendConfig::new().authorize(OwnScope);
/// ```
pub trait Authorize: Send + Sync + 'static {
    /// Whether this caller may call functions at all. If not, each of its calls fails with the code `unauthenticated`.
    fn admits(&self, user: Option<&UserId>) -> bool {
        let _ = user;
        true
    }

    /// Whether a caller may read a collection or a scope, and enter the scope to write in it.
    fn read(&self, request: &ReadRequest<'_>) -> bool;

    /// Whether a caller may write a document, in a scope that [`read`](Self::read) lets it enter. A refused document is
    /// refused with the code `notAuthorized`, and the other documents of its push are not affected.
    fn write(&self, request: &WriteRequest<'_>) -> bool;

    /// Whether [`write`](Self::write) looks at the document's rows or at its changed fields. A rule that does not look
    /// at them makes pushes cheaper, because the backend does not have to merge each document to ask it. Such a rule is
    /// given no row before the write, no changed fields, and a row after the write that may be only what the client
    /// claims.
    fn looks_at_rows(&self) -> bool {
        true
    }
}

/// The rights of a caller: who it is, and the rule that decides.
#[derive(Clone, Copy)]
pub(in crate::backend) struct Rights<'a> {
    pub user: Option<&'a UserId>,
    pub rule: &'a dyn Authorize,
}

impl Rights<'static> {
    /// A caller without a name, who may do everything.
    #[cfg(test)]
    pub const ALL: Self = Self { user: None, rule: &Everyone };
}

impl Default for Rights<'_> {
    fn default() -> Self {
        Self { user: None, rule: &Everyone }
    }
}

impl<'a> Rights<'a> {
    /// Whether the caller may call functions at all.
    pub fn admits(&self) -> bool {
        ask(false, || self.rule.admits(self.user))
    }

    /// Refuses a caller that may not read the collection, or the scope.
    pub fn check_read(&self, collection: &str, scope: Option<&str>) -> Result<(), Refusal> {
        match ask(false, || self.rule.read(&ReadRequest { user: self.user, collection, scope })) {
            true => Ok(()),
            false => Err(Refusal::new(
                RefusalCode::NotAuthorized,
                match scope {
                    None => format!("you may not read the collection {collection}"),
                    Some(scope) => format!("you may not read the scope {scope:?} of the collection {collection}"),
                },
            )),
        }
    }

    /// Refuses a caller that may not enter the scope of a document that it writes.
    pub fn check_enter(&self, collection: &str, scope: Option<&str>, document: &str) -> Result<(), Refusal> {
        self.check_read(collection, scope).map_err(|_| refused(document))
    }

    /// Whether the rule has to be given rows.
    pub fn looks_at_rows(&self) -> bool {
        ask(true, || self.rule.looks_at_rows())
    }

    /// Refuses a caller that may not write a document. The caller of this function has asked for the scope.
    pub fn check_write(&self, request: WriteRequest<'a>) -> Result<(), Refusal> {
        match ask(false, || self.rule.write(&WriteRequest { user: self.user, ..request })) {
            true => Ok(()),
            false => Err(refused(request.document)),
        }
    }
}

/// Asks a rule. The rule is the app's, and it is given rows that clients have made: if it panics, that must not end the
/// thread that writes, nor a connection that reads. `otherwise` is the answer then.
fn ask(otherwise: bool, question: impl FnOnce() -> bool) -> bool {
    catch_unwind(AssertUnwindSafe(question)).unwrap_or_else(|_| {
        tracing::error!(target: "bevy_convex_replicate::backend", "the rule panicked, so the call is refused");
        otherwise
    })
}

fn refused(document: &str) -> Refusal {
    Refusal::new(RefusalCode::NotAuthorized, format!("you may not write the document {document:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Panics;

    impl Authorize for Panics {
        fn admits(&self, _: Option<&UserId>) -> bool {
            panic!("this rule has no answer")
        }

        fn read(&self, _: &ReadRequest<'_>) -> bool {
            panic!("this rule has no answer")
        }

        fn write(&self, _: &WriteRequest<'_>) -> bool {
            panic!("this rule has no answer")
        }

        fn looks_at_rows(&self) -> bool {
            panic!("this rule has no answer")
        }
    }

    #[test]
    fn a_rule_that_panics_refuses() {
        let rights = Rights { user: None, rule: &Panics };
        assert!(!rights.admits());
        assert!(rights.looks_at_rows(), "the safe answer is the one that merges");
        let refusal = rights.check_read("tasks", None).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::NotAuthorized);
        let refusal = rights.check_enter("tasks", Some("a"), "one").unwrap_err();
        assert_eq!(refusal.code, RefusalCode::NotAuthorized);
    }
}
