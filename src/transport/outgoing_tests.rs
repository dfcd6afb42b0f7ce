use std::sync::Arc;

use automerge::ChangeHash;

use super::*;
use crate::{
    CollectionIndex, DocumentId, format,
    record::FromBackend,
    replica::{PushNumber, PushedDocument},
};

fn document(id: &str, changes: &[usize]) -> PushedDocument {
    let bytes = |(index, size): (usize, &usize)| -> Arc<[u8]> { (0..*size).map(|at| (at * 7 + index) as u8).collect() };
    PushedDocument {
        id: DocumentId::new(id),
        changes: changes.iter().enumerate().map(|change| (ChangeHash([0; 32]), bytes(change))).collect(),
        fields: Some([("text".to_owned(), format::Value::Text("x".into()))].into()),
        removed: vec!["gone".into()],
    }
}

fn outgoing(documents: Vec<PushedDocument>) -> Outgoing {
    Outgoing::new(Push { number: PushNumber::default(), collection: CollectionIndex(3), documents }, "tasks")
}

/// The documents of a mutation, as the server stores them: (id, changes as (bytes, part), whether it has fields).
type Seen = Vec<(String, Vec<(Vec<u8>, Option<(Vec<u8>, f64, f64)>)>, bool)>;

fn seen(arguments: BTreeMap<String, Value>) -> Seen {
    let Some(Value::Array(documents)) = arguments.get("documents") else { panic!("{arguments:?}") };
    let object = |value: &Value| match value {
        Value::Object(object) => object.clone(),
        other => panic!("{other:?}"),
    };
    let bytes = |value: &Value| match value {
        Value::Bytes(bytes) => bytes.clone(),
        other => panic!("{other:?}"),
    };
    let number = |value: &Value| match value {
        Value::Float64(number) => *number,
        other => panic!("{other:?}"),
    };
    documents
        .iter()
        .map(|document| {
            let document = object(document);
            let (Value::String(id), Value::Array(changes)) = (&document["id"], &document["changes"]) else { panic!() };
            let changes = changes.iter().map(|change| {
                let change = object(change);
                let part = change.get("part").map(object);
                let part = part.map(|part| (bytes(&part["hash"]), number(&part["index"]), number(&part["count"])));
                (bytes(&change["bytes"]), part)
            });
            assert_eq!(document.contains_key("fields"), document.contains_key("removed"));
            (id.clone(), changes.collect(), document.contains_key("fields"))
        })
        .collect()
}

fn accept(mutation: &Seen, epoch: &str, refuse: &[&str]) -> FunctionResult {
    let results = mutation.iter().map(|(id, _, _)| {
        let mut result: BTreeMap<String, Value> = [("id".to_owned(), id.as_str().into())].into();
        if refuse.contains(&id.as_str()) {
            result.insert("status".into(), "refused".into());
            result.insert("code".into(), "invalidChange".into());
            result.insert("message".into(), "no".into());
        } else {
            result.insert("status".into(), "accepted".into());
        }
        Value::Object(result)
    });
    let results = Value::Array(results.collect());
    FunctionResult::Value(Value::Object([("epoch".to_owned(), epoch.into()), ("results".to_owned(), results)].into()))
}

/// Sends everything to a server that gives these answers.
fn run(outgoing: &mut Outgoing, mut answer: impl FnMut(usize, &Seen) -> FunctionResult) -> (Vec<Seen>, Notice) {
    let mut mutations = Vec::new();
    loop {
        match outgoing.next() {
            Next::Send(arguments) => {
                let mutation = seen(arguments);
                let bytes: usize =
                    mutation.iter().flat_map(|(_, changes, _)| changes).map(|(bytes, _)| bytes.len()).sum();
                let changes: usize = mutation.iter().map(|(_, changes, _)| changes.len()).sum();
                assert!(bytes <= PUSH_BYTES && changes <= PUSH_CHANGES && mutation.len() <= PUSH_DOCUMENTS);
                assert_eq!(outgoing.answered(&answer(mutations.len(), &mutation)), Heard::GoOn);
                mutations.push(mutation);
            }
            Next::Done(notice) => return (mutations, notice),
        }
    }
}

fn answered(notice: Notice) -> Vec<(String, bool)> {
    match notice {
        Notice::Backend(FromBackend::Answered(answer)) => {
            assert_eq!((answer.collection, answer.epoch.as_str()), (CollectionIndex(3), "e1"));
            answer.results.into_iter().map(|(id, result)| (id.to_string(), result.is_ok())).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_usual_push_is_one_mutation_with_its_fields() {
    let mut push = outgoing(vec![document("a", &[100, 200]), document("b", &[50])]);
    assert_eq!(push.function().to_string(), "tasks:pushChanges");
    let (mutations, notice) = run(&mut push, |_, mutation| accept(mutation, "e1", &["b"]));
    assert_eq!(mutations.len(), 1);
    assert!(mutations[0].iter().all(|(_, changes, fields)| *fields && changes.iter().all(|(_, part)| part.is_none())));
    assert_eq!(answered(notice), [("a".into(), true), ("b".into(), false)]);
}

#[test]
fn an_empty_push_still_asks_for_the_epoch() {
    let (mutations, notice) = run(&mut outgoing(vec![]), |_, mutation| accept(mutation, "e1", &[]));
    assert_eq!(mutations, [Seen::new()]);
    assert!(answered(notice).is_empty());
}

#[test]
fn a_large_change_travels_in_parts_over_several_mutations() {
    let size = 3 * PUSH_BYTES + 17;
    let documents = vec![document("a", &[10]), document("b", &[20, size, 30]), document("c", &[40])];
    let whole = documents[1].changes[1].1.clone();
    let (mutations, notice) = run(&mut outgoing(documents.clone()), |_, mutation| accept(mutation, "e1", &[]));
    assert!(mutations.len() > 3);
    assert_eq!(answered(notice), [("a".into(), true), ("b".into(), true), ("c".into(), true)]);

    let entries: Vec<_> = mutations.iter().flatten().collect();
    let ids: Vec<_> = entries.iter().map(|(id, _, _)| id.as_str()).collect();
    assert!(ids.is_sorted(), "earlier documents first: {ids:?}");
    assert!(entries.iter().all(|(id, _, fields)| *fields == (id != "b")), "fields go with whole documents only");
    let pieces: Vec<_> = entries.iter().filter(|(id, _, _)| id == "b").flat_map(|(_, changes, _)| changes).collect();
    assert_eq!(pieces[0].0, *documents[1].changes[0].1);
    assert_eq!(pieces[pieces.len() - 1].0, *documents[1].changes[2].1);
    let parts = &pieces[1..pieces.len() - 1];
    let hash = Sha256::digest(&*whole).to_vec();
    for (index, (bytes, part)) in parts.iter().enumerate() {
        assert!(bytes.len() <= CHUNK_BYTES);
        assert_eq!(*part, Some((hash.clone(), index as f64, parts.len() as f64)));
    }
    assert_eq!(parts.iter().flat_map(|(bytes, _)| bytes.clone()).collect::<Vec<_>>(), *whole);
}

#[test]
fn a_document_that_fits_in_one_mutation_is_not_torn() {
    let big = 200 * 1024;
    let documents = (0..9).map(|index| document(&format!("d{index}"), &[big, big])).collect();
    let (mutations, notice) = run(&mut outgoing(documents), |_, mutation| accept(mutation, "e1", &[]));
    assert!(mutations.iter().flatten().all(|(_, changes, fields)| changes.len() == 2 && *fields));
    assert_eq!(mutations.iter().flatten().count(), 9);
    assert!(answered(notice).iter().all(|(_, ok)| *ok));
}

#[test]
fn more_documents_or_changes_than_a_mutation_takes_are_split() {
    let documents = (0..250).map(|index| document(&format!("{index:03}"), &[1])).collect();
    let (mutations, _) = run(&mut outgoing(documents), |_, mutation| accept(mutation, "e1", &[]));
    assert_eq!(mutations.iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 50]);

    let (mutations, _) =
        run(&mut outgoing(vec![document("a", &[1; 2_500])]), |_, mutation| accept(mutation, "e1", &[]));
    let changes: Vec<_> = mutations.iter().flatten().map(|(_, changes, _)| changes.len()).collect();
    assert_eq!(changes, [1_000, 1_000, 500]);
}

#[test]
fn nothing_follows_a_part_that_was_refused() {
    let documents = vec![document("a", &[3 * PUSH_BYTES]), document("b", &[10])];
    let (mutations, notice) = run(&mut outgoing(documents), |_, mutation| accept(mutation, "e1", &["a"]));
    let sent: Vec<_> = mutations.iter().flatten().map(|(id, _, _)| id.as_str()).collect();
    assert_eq!(sent, ["a", "b"]);
    assert_eq!(answered(notice), [("a".into(), false), ("b".into(), true)]);
}

#[test]
fn a_change_over_the_limit_is_not_sent_at_all() {
    let documents = vec![document("a", &[CHANGE_BYTES + 1]), document("b", &[10])];
    let (mutations, notice) = run(&mut outgoing(documents), |_, mutation| accept(mutation, "e1", &[]));
    assert_eq!(mutations.len(), 1);
    assert_eq!(answered(notice), [("a".into(), false), ("b".into(), true)]);
}

#[test]
fn a_call_that_fails_refuses_the_push() {
    let mut push = outgoing(vec![document("a", &[1])]);
    let (_, notice) = run(&mut push, |_, _| FunctionResult::ErrorMessage("it broke".into()));
    match notice {
        Notice::Backend(FromBackend::PushRefused { collection, refusal, .. }) => {
            assert_eq!(collection, CollectionIndex(3));
            assert_eq!((refusal.code.as_str(), refusal.message.as_str()), ("failed", "it broke"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_later_call_that_fails_refuses_only_its_documents() {
    let documents = (0..150).map(|index| document(&format!("{index:03}"), &[1])).collect();
    let (mutations, notice) = run(&mut outgoing(documents), |call, mutation| {
        if call == 0 { accept(mutation, "e1", &[]) } else { FunctionResult::ErrorMessage("it broke".into()) }
    });
    assert_eq!(mutations.len(), 2);
    let results = answered(notice);
    assert!(results[..100].iter().all(|(_, ok)| *ok) && results[100..].iter().all(|(_, ok)| !ok));
}

#[test]
fn an_answer_about_something_else_is_a_refusal() {
    let nonsense = [Value::Null, "ok".into(), Value::Array(vec![])];
    let others: Seen = vec![("someone else".into(), vec![], false)];
    let answers = nonsense.into_iter().map(FunctionResult::Value).chain([accept(&others, "e1", &[])]);
    for answer in answers {
        let (_, notice) = run(&mut outgoing(vec![document("a", &[1])]), |_, _| answer.clone());
        assert!(
            matches!(notice, Notice::Backend(FromBackend::PushRefused { refusal, .. }) if refusal.code == RefusalCode::BadAnswer)
        );
    }
}

#[test]
fn a_log_replaced_between_two_mutations_is_noticed() {
    let mut push = outgoing((0..150).map(|index| document(&format!("{index:03}"), &[1])).collect());
    let Next::Send(first) = push.next() else { panic!() };
    assert_eq!(push.answered(&accept(&seen(first), "e1", &[])), Heard::GoOn);
    let Next::Send(second) = push.next() else { panic!() };
    assert_eq!(push.answered(&accept(&seen(second), "e2", &[])), Heard::EpochChanged);
}

#[test]
fn a_token_that_is_refused_is_told_apart_from_a_push_that_is() {
    let mut push = outgoing(vec![document("a", &[1])]);
    let Next::Send(_) = push.next() else { panic!() };
    let data = [("code".to_owned(), "unauthenticated".into()), ("message".to_owned(), "who?".into())].into();
    let error = convex::ConvexError { message: "Server Error".into(), data: Value::Object(data) };
    let Heard::Unauthenticated(refusal) = push.answered(&FunctionResult::ConvexError(error)) else { panic!() };
    push.give_up(refusal.clone());
    match push.next() {
        Next::Done(Notice::Backend(FromBackend::PushRefused { refusal: told, .. })) => assert_eq!(told, refusal),
        _ => panic!("it goes on"),
    }
}
