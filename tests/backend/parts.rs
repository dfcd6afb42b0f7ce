//! Changes over 256 KiB are sent in parts.

use convex::Value;
use sha2::{Digest, Sha256};

use crate::support::*;

const PART: usize = 256 * 1024;

/// One change of about 600 KiB, and its parts.
fn large() -> (Vec<u8>, Vec<Value>) {
    let mut writer = Writer::new("large");
    let letters: String =
        (0..600_000u32).map(|index| char::from(b'a' + (index.wrapping_mul(2_654_435_761) >> 28) as u8)).collect();
    writer.put("text", letters);
    let raw = writer.changes()[0].raw_bytes().to_vec();
    let hash = Sha256::digest(&raw).to_vec();
    let count = raw.len().div_ceil(PART);
    assert_eq!(count, 3);
    let parts = raw.chunks(PART).enumerate().map(|(index, bytes)| part(bytes, &hash, index, count)).collect();
    (raw, parts)
}

fn part(bytes: &[u8], hash: &[u8], index: usize, count: usize) -> Value {
    let part =
        object([("hash", hash.to_vec().into()), ("index", (index as f64).into()), ("count", (count as f64).into())]);
    let chunk = object([("bytes", bytes.to_vec().into()), ("part", Value::Object(part))]);
    Value::Object(object([("id", "large".into()), ("changes", Value::Array(vec![Value::Object(chunk)]))]))
}

#[tokio::test]
async fn a_change_enters_the_log_with_its_last_part_in_any_order_and_despite_repeats() {
    let directory = tempfile::tempdir().unwrap();
    let config = || bevy_convex_replicate::backend::BackendConfig::new().data(directory.path());
    let backend = bevy_convex_replicate::backend::Backend::start(config()).unwrap();
    let mut first = client(&backend).await;
    let (raw, parts) = large();
    for part in [&parts[2], &parts[0], &parts[0]] {
        accepted(&push(&mut first, "tasks", vec![part.clone()]).await);
        assert!(pull_all(&mut first, "tasks", 10.0).await.is_empty());
        assert!(backend.rows("tasks").is_empty());
    }
    backend.stop();

    // Parts that wait survive a restart.
    let backend = bevy_convex_replicate::backend::Backend::start(config()).unwrap();
    let mut second = client(&backend).await;
    accepted(&push(&mut second, "tasks", vec![parts[1].clone()]).await);
    for part in &parts {
        accepted(&push(&mut second, "tasks", vec![part.clone()]).await);
    }
    let deltas = pull_all(&mut second, "tasks", 1.0).await;
    assert_eq!(deltas.len(), 3);
    let together: Vec<u8> = deltas.iter().flat_map(|delta| bytes(field(delta, "bytes")).to_vec()).collect();
    assert!(together == raw);
    for (index, delta) in deltas.iter().enumerate() {
        assert_eq!(number(field(delta, "ordinal")), (64 * (index + 1)) as f64);
        assert_eq!(number(field(field(delta, "part"), "index")), index as f64);
    }
    assert_eq!(text(field(&backend.rows("tasks")[0].1, "text")).len(), 600_000);
    backend.stop();

    let backend = bevy_convex_replicate::backend::Backend::start(config()).unwrap();
    let mut third = client(&backend).await;
    assert_eq!(pull_all(&mut third, "tasks", 2.0).await.len(), 3);
    accepted(&push(&mut third, "tasks", vec![parts[1].clone()]).await);
    assert_eq!(pull_all(&mut third, "tasks", 2.0).await.len(), 3);
}

#[tokio::test]
async fn parts_that_do_not_fit_are_refused() {
    let backend = backend();
    let mut client = client(&backend).await;
    let (raw, parts) = large();
    let hash = Sha256::digest(&raw).to_vec();
    accepted(&push(&mut client, "tasks", vec![parts[0].clone()]).await);
    for wrong in [
        part(b"other bytes", &hash, 0, 3),
        part(&raw[PART..2 * PART], &hash, 1, 4),
        part(b"x", &hash, 3, 3),
        part(b"x", &hash[1..], 1, 3),
    ] {
        assert_eq!(code(&push(&mut client, "tasks", vec![wrong]).await), "invalidChange");
    }
    assert_eq!(code(&push(&mut client, "tasks", vec![part(b"x", &[1; 32], 0, 25)]).await), "tooLarge");
    // All parts have arrived, but their content does not match the announced hash.
    accepted(&push(&mut client, "tasks", vec![part(&raw[..PART], &[9; 32], 0, 2)]).await);
    assert_eq!(
        code(&push(&mut client, "tasks", vec![part(&raw[PART..2 * PART], &[9; 32], 1, 2)]).await),
        "invalidChange"
    );
    // The correct parts are still accepted.
    accepted(&push(&mut client, "tasks", vec![parts[1].clone()]).await);
    accepted(&push(&mut client, "tasks", vec![parts[2].clone()]).await);
    assert_eq!(backend.rows("tasks").len(), 1);
}

#[tokio::test]
async fn the_bytes_that_wait_for_missing_parts_are_limited() {
    let backend = backend();
    let mut client = client(&backend).await;
    let bytes = vec![7; PART];
    let mut refusals = 0;
    for index in 0..70u8 {
        let results = push(&mut client, "tasks", vec![part(&bytes, &[index; 32], 0, 2)]).await;
        if text(field(&results[0], "status")) == "refused" {
            assert_eq!(code(&results), "tooLarge");
            refusals += 1;
        }
    }
    assert_eq!(refusals, 38, "32 of 256 KiB fit into 8 MiB");
}
