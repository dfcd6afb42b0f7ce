//! Tests of the rows that pushes make, and of the refusals.

use super::*;
use crate::limits::DOCUMENT_BYTES;

#[test]
fn a_change_that_makes_no_sense_is_refused_and_leaves_the_document_as_it_was() {
    use crate::chunk::sound::tests::{document_and_edits, forgeries, without_automerge_panics};
    without_automerge_panics();
    let (mut base, edits) = document_and_edits();
    let first = base.get_changes(&[]);
    let mut refused = 0;
    // Only every seventh forgery is tried, since the document is loaded after each.
    for forged in forgeries(&edits).step_by(7) {
        let hash = automerge::Change::try_from(&forged[..]).unwrap().hash();
        for fields in [None, Some(convex::Value::Object(BTreeMap::new()))] {
            let mut log = Log::new("epoch");
            let mut args = push("d", first.iter().map(|change| change.raw_bytes().to_vec()));
            log.push_changes("c", Rights::ALL, args.clone(), 0).unwrap();
            args.documents[0].changes = vec![Chunk { bytes: forged.clone().into(), part: None }];
            args.documents[0].fields = fields;
            let answer = log.push_changes("c", Rights::ALL, args, 0).unwrap().answer;
            log.publish();
            let whole = log.pull_changes("c", 0.0, None).documents.remove(0);
            let opened = Automerge::load(&whole.bytes).unwrap();
            let again = Automerge::load(&opened.save()).unwrap();
            match &answer[0].1 {
                Ok(()) => assert_eq!(again.get_heads(), [hash]),
                Err(refusal) => {
                    refused += 1;
                    assert!(
                        [RefusalCode::InvalidChange, RefusalCode::ForbiddenField].contains(&refusal.code),
                        "{refusal:?}"
                    );
                    assert_eq!(again.get_heads(), base.get_heads());
                    let convex::Value::Object(row) = &log.rows("c")[0].1 else { panic!("a row is an object") };
                    assert_eq!(row["version"], convex::Value::Float64(1.0));
                }
            }
        }
    }
    assert!(refused > 200, "{refused} refused");
}

/// Makes a push as [`push`] does, with the fields that the writer sends.
fn push_fields(changes: impl IntoIterator<Item = Vec<u8>>, fields: &[(&str, f64)]) -> PushChanges {
    let mut args = push("d", changes);
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), convex::Value::Float64(*value)));
    args.documents[0].fields = Some(convex::Value::Object(fields.collect()));
    args
}

fn field(log: &Log, name: &str) -> convex::Value {
    let convex::Value::Object(row) = &log.rows("c")[0].1 else { panic!("a row is an object") };
    row[name].clone()
}

#[test]
fn a_row_keeps_what_came_between_a_push_that_is_repeated_and_what_follows_it() {
    let mut log = Log::new("epoch");
    let (mut ada, mut bob) = (Replica::new(1), Replica::new(2));
    let first = ada.edit(1).documents.remove(0).changes.remove(0).bytes.to_vec();
    log.push_changes("c", Rights::ALL, push_fields([first.clone()], &[("value", 1.0)]), 1).unwrap();
    log.publish();
    // Ada does not get the answer. Bob sees her change and makes another. Ada sees his change in her next run and sets
    // another field.
    bob.merge(&log);
    let bobs = bob.edit(2).documents.remove(0).changes.remove(0).bytes.to_vec();
    log.push_changes("c", Rights::ALL, push_fields([bobs], &[("value", 2.0)]), 2).unwrap();
    log.publish();
    ada.merge(&log);
    ada.document.set_actor(ActorId::from([3; 16]));
    ada.document.put(ROOT, "other", 3.0).unwrap();
    ada.document.commit();
    let second = ada.document.get_last_local_change().unwrap().raw_bytes().to_vec();
    // Ada pushes both of her changes again, with the fields that each of them set.
    log.push_changes("c", Rights::ALL, push_fields([first, second], &[("value", 1.0), ("other", 3.0)]), 3).unwrap();
    log.publish();
    assert_eq!(field(&log, "value"), convex::Value::Float64(2.0));
    assert_eq!(field(&log, "other"), convex::Value::Float64(3.0));
}

#[test]
fn a_row_keeps_what_the_first_change_of_a_push_had_not_seen() {
    let mut log = Log::new("epoch");
    let (mut ada, mut bob) = (Replica::new(1), Replica::new(2));
    let start = ada.edit(1).documents.remove(0).changes.remove(0).bytes.to_vec();
    log.push_changes("c", Rights::ALL, push_fields([start], &[("value", 1.0)]), 1).unwrap();
    log.publish();
    bob.merge(&log);
    ada.document.put(ROOT, "other", 2.0).unwrap();
    ada.document.commit();
    let adas = ada.document.get_last_local_change().unwrap().raw_bytes().to_vec();
    log.push_changes("c", Rights::ALL, push_fields([adas], &[("other", 2.0)]), 2).unwrap();
    // Ada edits the version that Bob edits too. The log then has two heads, and her next change has seen only one of
    // them.
    ada.document.put(ROOT, "value", 5).unwrap();
    ada.document.commit();
    let unseen = ada.document.get_last_local_change().unwrap().raw_bytes().to_vec();
    let bobs = (6..9).map(|value| bob.edit(value).documents.remove(0).changes.remove(0).bytes.to_vec());
    for (change, value) in bobs.zip([6.0, 7.0, 8.0]) {
        log.push_changes("c", Rights::ALL, push_fields([change], &[("value", value)]), 3).unwrap();
    }
    log.publish();
    ada.merge(&log);
    ada.document.put(ROOT, "other", 9.0).unwrap();
    ada.document.commit();
    let seen = ada.document.get_last_local_change().unwrap().raw_bytes().to_vec();
    log.push_changes("c", Rights::ALL, push_fields([unseen, seen], &[("value", 5.0), ("other", 9.0)]), 4).unwrap();
    log.publish();
    // Of two concurrent values, the one with the higher operation number wins: Bob's last value.
    assert_eq!(field(&log, "value"), convex::Value::Float64(8.0));
    assert_eq!(field(&log, "other"), convex::Value::Float64(9.0));
    assert!(log.check_rows(1).is_empty(), "it was merged");
}

#[test]
fn a_document_over_its_limit_is_refused_and_one_with_that_much_history_is_not() {
    let mut log = Log::new("epoch");
    let mut history = Replica::new(1);
    // These edits compress to almost nothing: the log gets large and the document stays small.
    let rewritten = |replica: &mut Replica, value: u8| {
        replica.document.put(ROOT, "blob", vec![value; 200_000]).unwrap();
        replica.edit(i64::from(value))
    };
    for value in 0..40 {
        let answer =
            log.push_changes("c", Rights::ALL, rewritten(&mut history, value), i64::from(value)).unwrap().answer;
        assert_eq!(answer, [("d".to_owned(), Ok(()))], "{value}");
    }
    let bytes = log.size().bytes;
    assert!(bytes > DOCUMENT_BYTES, "{bytes}");

    let mut log = Log::new("epoch");
    let mut replica = Replica::new(2);
    let mut accepted = 0;
    let refused = (1..60).find_map(|seed| {
        let result =
            log.push_changes("c", Rights::ALL, noise(&mut replica, seed), seed as i64).unwrap().answer.remove(0).1;
        accepted += usize::from(result.is_ok());
        result.err()
    });
    let refused = refused.expect("what does not compress is over the limit at some time");
    assert_eq!((refused.code, refused.limit), (RefusalCode::TooLarge, Some(DOCUMENT_BYTES as u64)));
    assert_eq!(accepted, DOCUMENT_BYTES / 150_100, "as many as fit");
    // The existing document is whole, and it takes a small change.
    log.publish();
    let whole = log.pull_changes("c", 0.0, None).documents.remove(0);
    assert_eq!((whole.version, Automerge::load(&whole.bytes).unwrap().get_changes(&[]).len()), (accepted, accepted));
    let mut other = Replica::new(3);
    other.merge(&log);
    let answer = log.push_changes("c", Rights::ALL, other.edit(1), 100).unwrap().answer;
    assert_eq!(answer, [("d".to_owned(), Ok(()))]);
}
