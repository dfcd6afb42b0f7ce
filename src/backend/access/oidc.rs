//! Signed tokens of a provider of OpenID Connect.
//!
//! The keys come from a file, which the backend reads again when it changes. To follow a provider's keys, let a cron
//! job download them and rename the download into place. So the backend itself needs no HTTP client and no connection
//! to the provider.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::{
    backend::limits::{JWKS_BYTES, OIDC_LEEWAY, SIGNED_TOKEN_BYTES, SUBJECT_BYTES, TOKEN_FILE_EVERY},
    record::UserId,
};

/// A provider whose signed tokens a backend accepts. The user is `issuer|subject`, as on Convex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcProvider {
    issuer: String,
    audience: String,
    keys: PathBuf,
}

/// The reason why a provider's tokens cannot be accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OidcError {
    /// The issuer or the audience cannot be used.
    #[error("an issuer is a URL without `|`, and an audience is not empty")]
    Names,
    /// The file of keys cannot be read.
    #[error("cannot read the keys in {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The file is not a set of keys, or has none that can be used.
    #[error("{path} is not a JSON Web Key Set with a key for RS256, ES256 or EdDSA: {problem}")]
    Keys {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
}

impl OidcProvider {
    /// Accepts tokens that `issuer` has made for `audience`: the claims `iss` and `aud`. `keys` is a file with the
    /// provider's JSON Web Key Set, which the provider names `jwks_uri`.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>, keys: impl Into<PathBuf>) -> Self {
        Self { issuer: issuer.into(), audience: audience.into(), keys: keys.into() }
    }

    fn read(&self) -> Result<Keys, OidcError> {
        if url::Url::parse(&self.issuer).is_err() || self.issuer.contains('|') || self.audience.is_empty() {
            return Err(OidcError::Names);
        }
        let path = self.keys.clone();
        let failed = |source| OidcError::Read { path: path.clone(), source };
        let length = std::fs::metadata(&self.keys).map_err(failed)?.len();
        if length > JWKS_BYTES {
            return Err(OidcError::Keys { path, problem: format!("it has {length} bytes") });
        }
        let bytes = std::fs::read(&self.keys).map_err(failed)?;
        let set = serde_json::from_slice::<JwkSet>(&bytes);
        let set = set.map_err(|error| OidcError::Keys { path: path.clone(), problem: error.to_string() })?;
        let keys: Vec<Key> = set.keys.iter().filter_map(Key::new).collect();
        if keys.is_empty() {
            return Err(OidcError::Keys { path, problem: "it has no such key".into() });
        }
        let (issuer, audience) = (self.issuer.clone(), self.audience.clone());
        Ok(Keys { issuer, audience, keys, file: Sha256::digest(&bytes).into() })
    }
}

/// A provider's keys.
pub(in crate::backend) struct Keys {
    issuer: String,
    audience: String,
    keys: Vec<Key>,
    /// SHA-256 of the file.
    file: [u8; 32],
}

/// One key, and the only algorithm that it is used with.
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
    /// Identifies the key, for connections that were let in by it.
    name: [u8; 32],
}

/// The claims that are read here. The library checks `iss`, `aud`, `exp` and `nbf`.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
}

impl Key {
    /// A key that can be used. The algorithm is decided by the key, and never by a token.
    fn new(jwk: &Jwk) -> Option<Self> {
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(parameters) if parameters.curve == EllipticCurve::P256 => {
                Algorithm::ES256
            }
            AlgorithmParameters::OctetKeyPair(parameters) if parameters.curve == EllipticCurve::Ed25519 => {
                Algorithm::EdDSA
            }
            _ => return None,
        };
        let said = jwk.common.key_algorithm.as_ref();
        let fits = said.is_none_or(|said| {
            matches!(
                (said, algorithm),
                (KeyAlgorithm::RS256, Algorithm::RS256)
                    | (KeyAlgorithm::ES256, Algorithm::ES256)
                    | (KeyAlgorithm::EdDSA, Algorithm::EdDSA)
            )
        });
        let signs = jwk.common.public_key_use.as_ref().is_none_or(|is_for| *is_for == PublicKeyUse::Signature);
        let key = DecodingKey::from_jwk(jwk).ok().filter(|_| fits && signs)?;
        let name = Sha256::digest(serde_json::to_vec(jwk).ok()?).into();
        Some(Self { id: jwk.common.key_id.clone(), algorithm, key, name })
    }
}

impl Keys {
    /// The user whom a token names, when the token ends, and the name of the key that proves it. `None` if the token is
    /// not valid.
    pub fn verify(&self, token: &str) -> Option<(UserId, Duration, [u8; 32])> {
        if token.len() > SIGNED_TOKEN_BYTES {
            return None;
        }
        // The header only helps to find the key. Without `kid`, each key is tried.
        let id = decode_header(token).ok()?.kid;
        let keys = self.keys.iter().filter(|key| id.is_none() || key.id.is_none() || key.id == id);
        keys.into_iter().find_map(|key| {
            let mut validation = Validation::new(key.algorithm);
            validation.leeway = OIDC_LEEWAY.as_secs();
            validation.validate_nbf = true;
            validation.set_issuer(&[&self.issuer]);
            validation.set_audience(&[&self.audience]);
            validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
            let Claims { sub, exp } = decode::<Claims>(token, &key.key, &validation).ok()?.claims;
            let is_name = !sub.is_empty() && sub.len() <= SUBJECT_BYTES && !sub.chars().any(char::is_control);
            let expires = Duration::from_secs(exp).saturating_add(OIDC_LEEWAY);
            is_name.then(|| (UserId::new(&self.issuer, &sub), expires, key.name))
        })
    }

    /// Whether a key is still there.
    pub fn have(&self, name: &[u8; 32]) -> bool {
        self.keys.iter().any(|key| key.name == *name)
    }
}

/// Reads the keys of a provider and gives them to `tell`. Returns what follows the file from then on, until `stop` is
/// closed.
pub(in crate::backend) fn follow(
    provider: OidcProvider,
    stop: Receiver<()>,
    mut tell: impl FnMut(Arc<Keys>) + Send,
) -> Result<impl FnOnce() + Send, OidcError> {
    let keys = provider.read()?;
    let mut file = keys.file;
    tell(Arc::new(keys));
    Ok(move || {
        while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(TOKEN_FILE_EVERY) {
            match provider.read() {
                Ok(keys) if keys.file != file => {
                    file = keys.file;
                    tell(Arc::new(keys));
                }
                Ok(_) => {}
                // The keys that were read before stay valid.
                Err(error) => tracing::error!(target: "bevy_convex_replicate::backend", %error, "cannot read keys"),
            }
        }
    })
}
