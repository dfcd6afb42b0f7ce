//! Logs that an older version wrote can be opened. `tests/backend/prune.rs` has a log of format 1, and
//! `tests/older_files.rs` one of format 2.

use std::{fs, path::Path};

use bevy_convex_replicate::backend::{Backend, BackendConfig, UserTokens};
use convex::Value;
use sha2::{Digest, Sha256};

use crate::support::*;

const ADA: &str = "replicate|ada";
const EVE: &str = "replicate|eve";

#[tokio::test]
async fn a_log_of_format_3_is_upgraded_with_its_pruned_names_and_waiting_parts() {
    let sample = Path::new("tests/fixtures/log-3");
    let folder = tempfile::tempdir().unwrap();
    fs::copy(sample.join("log.sqlite"), folder.path().join("log.sqlite")).unwrap();
    let change = fs::read(sample.join("large.change")).unwrap();
    let tokens = UserTokens::open(folder.path()).unwrap();
    let [adas_token, eves_token] = ["ada", "eve"].map(|name| tokens.create(name, None).unwrap().1);

    // The same after a restart, from the upgraded file.
    for round in 0..2 {
        let backend = Backend::start(BackendConfig::new().data(folder.path()).authorize(OwnScope)).unwrap();
        let mut ada = signed_in(&backend, &adas_token).await;
        let mut eve = signed_in(&backend, &eves_token).await;
        let page = [("checkpoint", start()), ("scope", ADA.into())];
        let log = ok(query(&mut ada, "tasks:pullDeltas", page).await);
        let rows: Vec<_> = array(field(&log, "deltas")).iter().map(|row| text(field(row, "id"))).collect();
        assert_eq!(rows, ["stays"], "round {round}");
        assert_eq!(text(field(&array(field(&log, "deltas"))[0], "author")), ADA);
        // The scope of the pruned document is not known, so each user is told what the client has to know.
        for (client, scope) in [(&mut ada, ADA), (&mut eve, EVE)] {
            let documents = Value::Array(vec![Writer::new("gone").document(None)]);
            let args = [("documents", documents), ("scope", scope.into())];
            let answer = ok(mutate(client, "tasks:pushChanges", args).await);
            assert_eq!(code(array(field(&answer, "results"))), "pruned", "{scope}");
        }
        backend.stop();
    }

    // Whose part waited is not known, so it is nobody's.
    let file = rusqlite::Connection::open(folder.path().join("log.sqlite")).unwrap();
    let format: i64 = file.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(format, 4);
    let sender: String = file.query_row("SELECT sender FROM part", [], |row| row.get(0)).unwrap();
    assert_eq!(sender, "[null,null]");
    drop(file);
    let part =
        object([("hash", Sha256::digest(&change).to_vec().into()), ("index", 1.0.into()), ("count", 2.0.into())]);
    let chunk = Value::Object(object([("bytes", change[10..].to_vec().into()), ("part", Value::Object(part))]));
    let document = object([("id", "large".into()), ("changes", Value::Array(vec![chunk]))]);
    fs::remove_file(folder.path().join("tokens.sqlite")).unwrap();
    let backend = Backend::start(BackendConfig::new().data(folder.path())).unwrap();
    let mut nobody = client(&backend).await;
    accepted(&push(&mut nobody, "tasks", vec![Value::Object(document)]).await);
    let ids: Vec<_> = backend.rows("tasks").into_iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(ids, ["large", "stays"]);
}

#[tokio::test]
async fn a_damaged_scope_or_sender_is_found() {
    for damage in [
        "UPDATE pruned SET home = 'x'",
        "UPDATE pruned SET home = '\"replicate|eve\"'",
        "UPDATE part SET sender = '[null,\"theirs\"]'",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log.sqlite");
        fs::copy("tests/fixtures/log-3/log.sqlite", &file).unwrap();
        let open = || Backend::start(BackendConfig::new().data(folder.path()));
        open().unwrap().stop();
        rusqlite::Connection::open(&file).unwrap().execute_batch(damage).unwrap();
        let error = open().err().unwrap_or_else(|| panic!("{damage} was not noticed"));
        assert!(error.to_string().contains("not as it was written"), "{damage}: {error}");
    }
}
