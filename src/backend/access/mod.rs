//! People and their rights: who may call functions ([`Access`]), and what they may read and write ([`Rights`]).

#[cfg_attr(not(feature = "oidc"), path = "no_oidc.rs")]
mod oidc;
mod request;
mod rights;
mod rules;
mod token;
mod users;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

#[cfg(not(feature = "oidc"))]
pub(super) use self::oidc::OidcProvider;
#[cfg(feature = "oidc")]
pub use self::oidc::{OidcError, OidcProvider};
pub(super) use self::{
    oidc::{Keys, follow},
    rights::Rights,
    token::Token,
    users::{Users, watch},
};
pub use self::{
    request::{DocumentRow, ReadRequest, WriteKind, WriteRequest},
    rights::Authorize,
    rules::{Everyone, OwnRows, SignedIn},
    users::{UserToken, UserTokens, UserTokensError},
};
use crate::record::UserId;

/// The tokens that a backend accepts, and the rule that it applies. Connections get another `Access` when the tokens
/// change.
#[derive(Clone)]
pub(super) struct Access {
    /// The token of one user without a name.
    pub token: Option<Token>,
    /// The users with tokens of this backend's own. `None` if no such token was ever made.
    pub users: Option<Arc<Users>>,
    /// The provider of signed tokens.
    pub keys: Option<Arc<Keys>>,
    pub rule: Arc<dyn Authorize>,
    /// Returns the time since 1970.
    pub clock: fn() -> Duration,
}

impl Default for Access {
    /// Everybody may call everything.
    fn default() -> Self {
        Self { token: None, users: None, keys: None, rule: Arc::new(Everyone), clock: since_1970 }
    }
}

/// A caller that was let in.
#[derive(Clone)]
pub(super) struct Admission {
    pub user: Option<UserId>,
    /// When the admission ends, in time since 1970.
    expires: Option<Duration>,
    proof: Proof,
}

/// The reason why a caller was let in.
#[derive(Clone)]
enum Proof {
    /// The backend asks for no token.
    NotAsked,
    /// The token without a name.
    Token(Token),
    /// The hash of a user's token.
    Own([u8; 32]),
    /// The name of the key that has signed the token.
    Signed([u8; 32]),
}

impl Access {
    /// Whether the backend asks for no token.
    pub fn is_open(&self) -> bool {
        self.token.is_none() && self.users.is_none() && self.keys.is_none()
    }

    /// Lets a caller in that offers this token, or none. `None` if it may not call functions.
    pub fn admit(&self, offered: Option<&str>) -> Option<Admission> {
        if self.is_open() {
            return Some(Admission { user: None, expires: None, proof: Proof::NotAsked });
        }
        let offered = offered?;
        if let Some(token) = &self.token
            && token.is(offered)
        {
            return Some(Admission { user: None, expires: None, proof: Proof::Token(token.clone()) });
        }
        let hash = users::hash(offered);
        if let Some((user, expires)) = self.users.as_ref().and_then(|users| users.find(&hash, (self.clock)())) {
            return Some(Admission { user: Some(user), expires, proof: Proof::Own(hash) });
        }
        let (user, expires, key) = self.keys.as_ref()?.verify(offered)?;
        Some(Admission { user: Some(user), expires: Some(expires), proof: Proof::Signed(key) })
    }

    /// Whether an earlier admission is still valid.
    pub fn still_admits(&self, admission: &Admission) -> bool {
        match &admission.proof {
            Proof::NotAsked => self.is_open(),
            Proof::Token(token) => self.token.as_ref().is_some_and(|present| present == token),
            Proof::Signed(key) => self.keys.as_ref().is_some_and(|keys| keys.have(key)),
            Proof::Own(hash) => self.users.as_ref().is_some_and(|users| users.find(hash, (self.clock)()).is_some()),
        }
    }

    /// How long it is until an admission ends. `None` if it does not end by itself.
    pub fn remaining(&self, admission: &Admission) -> Option<Duration> {
        admission.expires.map(|expires| expires.saturating_sub((self.clock)()))
    }

    /// The rights of an admitted caller.
    pub fn rights<'a>(&'a self, admission: &'a Admission) -> Rights<'a> {
        Rights { user: admission.user.as_ref(), rule: &*self.rule }
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
