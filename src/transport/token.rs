//! Tokens, and whose they are.

use std::fmt;

use super::reconnect::End;

/// A token to authenticate with, and the user that it belongs to if the app knows.
///
/// A text is a token whose user is not known.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Token {
    /// The token.
    pub token: String,
    /// The user it belongs to, by the name that the app gives users. `None` if the app does not say: then the token is
    /// taken for one of the user who is signed in.
    pub user: Option<String>,
}

impl Token {
    /// A token of this user.
    pub fn of(user: impl Into<String>, token: impl Into<String>) -> Self {
        Self { token: token.into(), user: Some(user.into()) }
    }
}

impl From<String> for Token {
    fn from(token: String) -> Self {
        Self { token, user: None }
    }
}

impl From<&str> for Token {
    fn from(token: &str) -> Self {
        token.to_owned().into()
    }
}

impl fmt::Debug for Token {
    /// Debug output does not include the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("token", &"..").field("user", &self.user).finish()
    }
}

/// Refuses a token of another user than the one whose edits are sent.
pub(crate) fn check_user(user: Option<&str>, token: &Token) -> Result<(), End> {
    match (user, token.user.as_deref()) {
        (Some(user), Some(of)) if user != of => Err(End::OtherUser { user: user.to_owned(), token_of: of.to_owned() }),
        // Without a user the edits are nobody's, and they go out under nobody's token.
        (None, Some(of)) => Err(End::OtherUser { user: String::new(), token_of: of.to_owned() }),
        _ => Ok(()),
    }
}
