//! Signed tokens of a provider, and forged ones.

#[expect(dead_code, reason = "the other tests of the backend use the rest")]
#[path = "backend/support.rs"]
mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use bevy_convex_replicate::backend::{Backend, BackendConfig, BackendError, OidcProvider};
use convex::Value;
use serde_json::{Value as Json, json};

use support::*;

const ISSUER: &str = "https://login.example";
const AUDIENCE: &str = "board";

enum Signer {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    fn all() -> [Self; 3] {
        [
            Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
            Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            Self::Ed(Ed25519KeyPair::generate().unwrap()),
        ]
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
        }
    }

    /// The public key, as a provider publishes it.
    fn jwk(&self) -> Json {
        let encoded = |bytes: &[u8]| BASE64.encode(bytes);
        let mut jwk = match self {
            Self::Rsa(key) => {
                let public = key.public_key();
                let modulus = public.modulus().big_endian_without_leading_zero().to_vec();
                let exponent = public.exponent().big_endian_without_leading_zero().to_vec();
                json!({ "kty": "RSA", "n": encoded(&modulus), "e": encoded(&exponent) })
            }
            Self::Ec(key) => {
                let point = key.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "x": encoded(&point[1..33]), "y": encoded(&point[33..]) })
            }
            Self::Ed(key) => json!({ "kty": "OKP", "crv": "Ed25519", "x": encoded(key.public_key().as_ref()) }),
        };
        jwk["kid"] = self.algorithm().into();
        jwk["use"] = "sig".into();
        jwk
    }

    fn sign(&self, header: &Json, claims: &Json) -> String {
        let encoded = |json: &Json| BASE64.encode(json.to_string());
        let message = format!("{}.{}", encoded(header), encoded(claims));
        let signature = match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
                signature
            }
            Self::Ec(key) => key.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec(),
            Self::Ed(key) => key.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", BASE64.encode(signature))
    }

    fn header(&self) -> Json {
        json!({ "alg": self.algorithm(), "kid": self.algorithm(), "typ": "JWT" })
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims() -> Json {
    json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": now() + 3_600 })
}

fn publish(folder: &tempfile::TempDir, signers: &[Signer]) -> OidcProvider {
    let path = folder.path().join("keys.json");
    let keys: Vec<Json> = signers.iter().map(Signer::jwk).collect();
    let next = folder.path().join("next.json");
    std::fs::write(&next, json!({ "keys": keys }).to_string()).unwrap();
    std::fs::rename(next, &path).unwrap();
    OidcProvider::new(ISSUER, AUDIENCE, path)
}

/// Whether the backend refuses the token, over a socket.
async fn is_refused(backend: &Backend, token: &str) -> bool {
    use futures::{SinkExt, StreamExt};
    let url = format!("ws://{}/api/1.24.0/sync", backend.address());
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let message = json!({ "type": "Authenticate", "baseVersion": 0, "tokenType": "User", "value": token });
    socket.send(message.to_string().into()).await.unwrap();
    let reply = socket.next().await.unwrap().unwrap().to_string();
    assert!(reply.contains("AuthError") || reply.contains("Transition"), "{reply}");
    reply.contains("AuthError")
}

#[tokio::test]
async fn signed_tokens_name_their_users() {
    let folder = tempfile::tempdir().unwrap();
    let signers = Signer::all();
    let backend = Backend::start(BackendConfig::new().oidc(publish(&folder, &signers))).unwrap();
    for signer in &signers {
        let mut claims = claims();
        claims["sub"] = signer.algorithm().into();
        // A token may be for several audiences.
        claims["aud"] = json!(["another", AUDIENCE]);
        let mut client = signed_in(&backend, &signer.sign(&signer.header(), &claims)).await;
        let mut task = Writer::new(signer.algorithm());
        task.put("n", 1);
        accepted(&push(&mut client, "tasks", vec![task.document(None)]).await);
        let rows = pull_all(&mut client, "tasks", 10.0).await;
        let author = text(field(rows.last().unwrap(), "author"));
        assert_eq!(author, format!("{ISSUER}|{}", signer.algorithm()));
    }
    let data = refused(query(&mut client(&backend).await, "tasks:changeStream", []).await);
    assert_eq!(field(&data, "code"), &Value::from("unauthenticated"));
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let signers = Signer::all();
    let backend = Backend::start(BackendConfig::new().oidc(publish(&folder, &signers))).unwrap();
    let changed = |field: &str, value: Json| {
        let mut claims = claims();
        claims[field] = value;
        claims
    };
    for signer in &signers {
        let header = signer.header();
        assert!(!is_refused(&backend, &signer.sign(&header, &claims())).await);
        for (claim, value) in [
            ("iss", json!("https://login.evil")),
            ("iss", json!(null)),
            ("aud", json!("another")),
            ("aud", json!(null)),
            ("aud", json!([])),
            ("exp", json!(now() - 3_600)),
            ("exp", json!(null)),
            ("exp", json!("9999999999")),
            ("nbf", json!(now() + 3_600)),
            ("nbf", json!("0")),
            ("sub", json!("")),
            ("sub", json!(null)),
            ("sub", json!("a\nb")),
            ("sub", json!("x".repeat(256))),
        ] {
            let token = signer.sign(&header, &changed(claim, value.clone()));
            assert!(is_refused(&backend, &token).await, "{} {claim}: {value}", signer.algorithm());
        }
        // The algorithm is the key's, whatever the token says.
        let token = signer.sign(&header, &claims());
        let [_, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
        for algorithm in ["none", "None", "HS256", "RS384", "PS256", "ES384", "RS256", "ES256", "EdDSA"] {
            if algorithm == signer.algorithm() {
                continue;
            }
            let forged = json!({ "alg": algorithm, "kid": signer.algorithm() });
            assert!(is_refused(&backend, &signer.sign(&forged, &claims())).await, "{algorithm}");
            let head = BASE64.encode(forged.to_string());
            for end in ["", signature] {
                assert!(is_refused(&backend, &format!("{head}.{payload}.{end}")).await, "{algorithm}");
            }
        }
        // Another payload under the same signature, and another key under the same name.
        let head = token.split('.').next().unwrap();
        let other = BASE64.encode(changed("sub", json!("eve")).to_string());
        assert!(is_refused(&backend, &format!("{head}.{other}.{signature}")).await);
    }
    for stranger in Signer::all() {
        assert!(is_refused(&backend, &stranger.sign(&stranger.header(), &claims())).await);
    }
    for nonsense in ["", ".", "..", "a.b.c", &"x".repeat(20_000)] {
        assert!(is_refused(&backend, nonsense).await, "{nonsense:?}");
    }
}

#[tokio::test]
async fn a_key_that_the_provider_withdraws_is_not_accepted_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Signer::all(), Signer::all());
    let backend = Backend::start(BackendConfig::new().oidc(publish(&folder, &old))).unwrap();
    let [olds, news] = [&old, &new].map(|signers| signers[1].sign(&signers[1].header(), &claims()));
    assert!(!is_refused(&backend, &olds).await && is_refused(&backend, &news).await);
    publish(&folder, &new);
    let rotated = async { while is_refused(&backend, &news).await {} };
    tokio::time::timeout(DEADLINE, rotated).await.expect("the new keys in time");
    assert!(is_refused(&backend, &olds).await);
}

#[test]
fn a_provider_without_keys_or_with_an_unclear_name_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let start = |issuer: &str, audience: &str| {
        Backend::start(BackendConfig::new().oidc(OidcProvider::new(issuer, audience, &path))).err()
    };
    assert!(matches!(start(ISSUER, AUDIENCE), Some(BackendError::Oidc(_))), "there is no file");
    for keys in ["", "{}", r#"{ "keys": [] }"#, r#"{ "keys": [{ "kty": "oct", "k": "c2VjcmV0" }] }"#] {
        std::fs::write(&path, keys).unwrap();
        assert!(matches!(start(ISSUER, AUDIENCE), Some(BackendError::Oidc(_))), "{keys}");
    }
    publish(&folder, &Signer::all());
    assert!(start(ISSUER, AUDIENCE).is_none());
    // The issuer of the backend's own tokens is no URL, so no provider has it.
    for (issuer, audience) in [("replicate", AUDIENCE), ("", AUDIENCE), ("https://a|b", AUDIENCE), (ISSUER, "")] {
        assert!(matches!(start(issuer, audience), Some(BackendError::Oidc(_))), "{issuer} {audience}");
    }
}
