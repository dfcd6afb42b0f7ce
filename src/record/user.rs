//! The identity of a user.

use std::{fmt, sync::Arc};

/// A user whom a backend has verified: `issuer|subject`, as Convex's `tokenIdentifier`. The issuer is the party that
/// vouches for the user. For the embedded backend's own tokens it is `replicate`, and the subject is the name that the
/// token was made for.
///
/// A client never says who it is: only a backend makes this from a token that it has verified.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

impl UserId {
    /// The issuer of the tokens that `replicate-backend token new` makes.
    #[cfg(any(feature = "backend", test))]
    pub const OWN_ISSUER: &str = "replicate";

    /// The user that `issuer` calls `subject`.
    #[cfg(any(feature = "backend", test))]
    pub fn new(issuer: &str, subject: &str) -> Self {
        Self(format!("{issuer}|{subject}").into())
    }

    /// The user with this `issuer|subject`, as a log or an answer has it.
    pub(crate) fn recorded(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// `issuer|subject`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The party that vouches for the user. Issuers contain no `|`.
    pub fn issuer(&self) -> &str {
        self.0.split_once('|').map_or("", |(issuer, _)| issuer)
    }

    /// The issuer's name for the user. It does not identify the user alone, because another issuer may use it too.
    pub fn subject(&self) -> &str {
        self.0.split_once('|').map_or(&*self.0, |(_, subject)| subject)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_may_contain_the_separator() {
        let user = UserId::new("https://login.example", "a|b");
        assert_eq!((user.issuer(), user.subject()), ("https://login.example", "a|b"));
        assert_eq!(UserId::recorded(user.as_str()), user);
    }
}
