//! The token of one user without a name.

use std::sync::Arc;

use subtle::ConstantTimeEq;

/// The token that callers without a name must send. It is never shown.
#[derive(Clone)]
pub(in crate::backend) struct Token(Arc<str>);

impl Token {
    pub fn new(token: String) -> Self {
        Self(token.into())
    }

    /// Whether this is the token. The comparison takes as long for a wrong token as for the right one of the same
    /// length.
    pub fn is(&self, offered: &str) -> bool {
        self.0.as_bytes().ct_eq(offered.as_bytes()).into()
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_is_the_token() {
        let token = Token::new("a token".into());
        assert!(token.is("a token"));
        for other in ["", "a", "a toke", "a token ", "a tokem", "b token", "A TOKEN", "a token\0"] {
            assert!(!token.is(other), "{other:?}");
        }
    }
}
