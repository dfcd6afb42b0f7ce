//! Hostile rows in the store, written past its schema: the opened store reports the damage, keeps the rest, and changes
//! nothing that it was not asked to change.

use std::path::Path;

use bevy_convex_replicate::{
    DocumentId,
    format::Value,
    store::{Store, StoreError},
};
use proptest::prelude::*;
use rusqlite::{Connection, types::Value as Sql};

use crate::{chunks, front::Front, memory, mutate, panics};

/// The memory that a case may use: a worker, its store, and SQLite's caches.
const PEAK: usize = 64 * 1024 * 1024;

/// Makes a store with two documents.
fn make(path: &Path) {
    let mut front = Front::open(path, None);
    front.put("good", 1, &[("n", Value::Int(1))]);
    for capture in 1..4 {
        front.put("victim", capture, &[("n", Value::Int(capture as i64)), ("text", Value::Text("hello".into()))]);
    }
    front.until("all is saved", |front| front.saved() == 4);
    drop(front);
    let mut store = Store::open(path).unwrap();
    store.remote("http://127.0.0.1:9", "log").unwrap();
}

fn odd() -> impl Strategy<Value = Sql> {
    prop_oneof![
        Just(Sql::Null),
        prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(-1), any::<i64>(), 0..70_i64].prop_map(Sql::Integer),
        any::<f64>().prop_map(Sql::Real),
        "\\PC{0,30}".prop_map(Sql::Text),
        (0..200_usize).prop_map(|depth| Sql::Text(format!("{}{}", "[".repeat(depth), "]".repeat(depth)))),
        (0..200_usize).prop_map(|depth| Sql::Text("{\"a\":".repeat(depth) + "1" + &"}".repeat(depth))),
        prop::sample::select(vec![
            "{}",
            "[]",
            "null",
            "{\"$counter\":1}",
            "{\"$bytes\":\"!\"}",
            "{\"n\":{\"$what\":1}}",
            "{\"n\":1e999}",
            "{\"n\":99999999999999999999}",
        ])
        .prop_map(|text| Sql::Text(text.into())),
        prop::collection::vec(any::<u8>(), 0..100).prop_map(Sql::Blob),
        Just(Sql::Blob(vec![0; 32])),
        (1..200_000_usize).prop_map(|length| Sql::Blob(vec![0x85; length])),
    ]
}

const COLUMNS: [(&str, &str); 18] = [
    ("document", "name"),
    ("document", "chunks"),
    ("document", "heads"),
    ("document", "value"),
    ("document", "value_heads"),
    ("document", "collection"),
    ("chunk", "hash"),
    ("chunk", "kind"),
    ("chunk", "holder"),
    ("chunk", "fields"),
    ("chunk", "bytes"),
    ("chunk", "document"),
    ("remote", "used"),
    ("remote", "epoch"),
    ("checkpoint", "ts"),
    ("checkpoint", "ordinal"),
    ("checkpoint", "pruned"),
    ("collection", "name"),
];

#[derive(Clone, Debug)]
enum Damage {
    Set {
        column: usize,
        value: Sql,
    },
    /// The victim's first chunk, with its bytes mutated and its checksum correct.
    Chunk(Vec<mutate::Mutation>),
    Delete {
        table: usize,
    },
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        6 => (0..COLUMNS.len(), odd()).prop_map(|(column, value)| Damage::Set { column, value }),
        4 => mutate::mutations(3).prop_map(Damage::Chunk),
        1 => (0..2_usize).prop_map(|table| Damage::Delete { table }),
    ]
}

/// Writes the damage to the row of `victim`. Damage that SQLite itself refuses is not written.
fn write(path: &Path, damage: &Damage) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF;").unwrap();
    let checkpoint = "INSERT OR IGNORE INTO checkpoint (remote, collection, ts, ordinal, pruned) \
                      SELECT remote.id, collection.id, 5, 5, 5 FROM remote, collection";
    connection.execute(checkpoint, []).unwrap();
    let victim = "(SELECT id FROM document WHERE name = 'victim')";
    let _ = match damage {
        Damage::Set { column, value } => {
            let (table, column) = COLUMNS[*column];
            let rows = match table {
                "document" => "WHERE name = 'victim'".to_owned(),
                "chunk" => format!("WHERE id = (SELECT min(id) FROM chunk WHERE document = {victim})"),
                _ => String::new(),
            };
            connection.execute(&format!("UPDATE {table} SET {column} = ?1 {rows}"), [value])
        }
        Damage::Chunk(mutations) => {
            let first = format!("SELECT id, bytes FROM chunk WHERE document = {victim} ORDER BY id LIMIT 1");
            let first: Result<(i64, Vec<u8>), _> =
                connection.query_row(&first, [], |row| Ok((row.get(0)?, row.get(1)?)));
            // After earlier damage, this may no longer be a chunk.
            first.ok().filter(|(_, bytes)| chunks::is_chunk(bytes)).map_or(Ok(0), |(id, bytes)| {
                let (kind, data) = chunks::open(&bytes);
                let bytes = chunks::seal(kind, &mutate::apply(data, mutations));
                connection.execute("UPDATE chunk SET bytes = ?1 WHERE id = ?2", (bytes, id))?;
                connection.execute("UPDATE document SET value_heads = NULL WHERE name = 'victim'", [])
            })
        }
        Damage::Delete { table: 0 } => connection.execute(&format!("DELETE FROM chunk WHERE document = {victim}"), []),
        Damage::Delete { .. } => connection.execute("DELETE FROM document WHERE name = 'victim'", []),
    };
}

proptest! {
    #![proptest_config(crate::cases(40, "../hostile/proptest-regressions/rows.txt"))]

    #[test]
    fn a_store_with_hostile_rows_is_opened_or_reports_the_reason(damages in prop::collection::vec(damage(), 1..3)) {
        let _alone = memory::alone();
        panics::watch();
        let before = panics::ours().len();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.sqlite");
        make(&path);
        damages.iter().for_each(|damage| write(&path, damage));
        crate::fed("store rows", std::fs::metadata(&path).unwrap().len() as usize);
        let peak = memory::Peak::start();
        let spares_the_good = !damages.iter().any(|damage| matches!(damage, Damage::Set { column, .. } if COLUMNS[*column].0 == "collection"));
        match Store::open(&path) {
            Ok(mut store) => {
                let remote = store.last_remote("http://127.0.0.1:9").ok().flatten();
                let good = store.document("tasks", &DocumentId::new("good")).unwrap();
                if spares_the_good {
                    prop_assert!(good.is_some_and(|good| good.value.get("n") == Some(&Value::Int(1))));
                }
                let victim = DocumentId::new("victim");
                // Each reports its result or an error.
                let _ = store.document("tasks", &victim).map_err(|error| error.to_string());
                let _ = store.documents("tasks", None, 100).map_err(|error| error.to_string());
                let _ = store.unsent("tasks", remote, 100).map_err(|error| error.to_string());
                let _ = store.unsent_chunks("tasks", &victim, remote).map_err(|error| error.to_string());
                let _ = store.chunks("tasks", &victim).map_err(|error| error.to_string());
                if let Some(remote) = remote {
                    prop_assert!(store.checkpoint(remote, "tasks").is_ok());
                    let _ = store.compactable(remote, 100).map_err(|error| error.to_string());
                    let _ = store.compact("tasks", &victim, remote).map_err(|error| error.to_string());
                }
            }
            Err(error) => prop_assert!(matches!(error, StoreError::Damaged { .. }), "{error}"),
        }
        // A complete client with this store starts, edits and ends.
        let mut front = Front::open(&path, Some("http://127.0.0.1:9".into()));
        front.until("the store is read or refused", |front| front.ready || !front.failures.is_empty());
        if front.ready && front.status.as_ref().is_some_and(|status| status.store_open) {
            front.put("new", 1, &[("n", Value::Int(2))]);
            front.put("victim", 9, &[("n", Value::Int(3))]);
            front.until("edits are saved or reported", |front| front.saved() == 2);
            if spares_the_good {
                prop_assert!(front.shows("good"));
            }
        }
        drop(front);
        let taken = peak.bytes();
        prop_assert!(taken < PEAK, "{}", taken);
        prop_assert_eq!(panics::ours().len(), before, "{:?}", panics::ours().last());
    }
}

#[test]
fn a_checkpoint_that_no_log_can_return_is_ignored() {
    let _alone = memory::alone();
    panics::watch();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    make(&path);
    let column = COLUMNS.iter().position(|place| *place == ("checkpoint", "ts")).unwrap();
    write(&path, &Damage::Set { column, value: Sql::Integer(-7) });
    let store = Store::open(&path).unwrap();
    let remote = store.last_remote("http://127.0.0.1:9").unwrap().unwrap();
    assert_eq!(store.checkpoint(remote, "tasks").unwrap(), None);
}

#[test]
fn chunks_without_their_document_do_not_stop_a_store_from_synchronising() {
    let _alone = memory::alone();
    panics::watch();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    make(&path);
    write(&path, &Damage::Delete { table: 1 });
    let store = Store::open(&path).unwrap();
    let remote = store.last_remote("http://127.0.0.1:9").unwrap();
    assert_eq!(store.unsent("tasks", remote, 100).unwrap(), [DocumentId::new("good")]);
}
