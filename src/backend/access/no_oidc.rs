//! Stands in for `oidc` in a build without that feature. There is no provider, so none of this is ever called.

use std::{convert::Infallible, sync::Arc};

use crossbeam_channel::Receiver;

use crate::{backend::BackendError, record::UserId};

/// A provider of signed tokens.
#[derive(Clone, Debug)]
pub(in crate::backend) enum OidcProvider {}

/// The keys of a provider.
pub(in crate::backend) struct Keys(Infallible);

impl Keys {
    /// Verifies a signed token.
    pub fn verify(&self, _: &str) -> Option<(UserId, std::time::Duration, [u8; 32])> {
        match self.0 {}
    }

    /// Whether this key is one of them.
    pub fn have(&self, _: &[u8; 32]) -> bool {
        match self.0 {}
    }
}

/// Reads the keys of a provider.
pub(in crate::backend) fn follow(
    provider: OidcProvider,
    _: Receiver<()>,
    _: impl FnMut(Arc<Keys>) + Send,
) -> Result<Box<dyn FnOnce() + Send>, BackendError> {
    match provider {}
}
