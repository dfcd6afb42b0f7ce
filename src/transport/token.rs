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

/// Refuses a token of another user than the one whose edits are sent. A user's edits never go out without a token
/// either: the deployment would take them for nobody's.
pub(crate) fn check_user(user: Option<&str>, token: Option<&Token>) -> Result<(), End> {
    match (user, token.map(|token| token.user.as_deref())) {
        (Some(user), None) => {
            Err(End::NoToken(format!("{user} is signed in, and there is no token of {user}: sign in with a token")))
        }
        (Some(user), Some(Some(of))) if user != of => {
            Err(End::OtherUser { user: user.to_owned(), token_of: of.to_owned() })
        }
        // Without a user the edits are nobody's, and they go out under nobody's token.
        (None, Some(Some(of))) => Err(End::OtherUser { user: String::new(), token_of: of.to_owned() }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_go_out_with_a_token_of_their_user_alone() {
        let (plain, alices) = (Token::from("a"), Token::of("alice", "a"));
        for (user, token) in
            [(Some("alice"), Some(&alices)), (Some("alice"), Some(&plain)), (None, Some(&plain)), (None, None)]
        {
            assert_eq!(check_user(user, token), Ok(()), "{user:?} {token:?}");
        }
        assert!(matches!(check_user(Some("bob"), Some(&alices)), Err(End::OtherUser { .. })));
        assert!(matches!(check_user(None, Some(&alices)), Err(End::OtherUser { .. })));
        assert!(matches!(check_user(Some("alice"), None), Err(End::NoToken(_))));
    }
}
