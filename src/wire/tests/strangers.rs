//! Tests of input from strangers: no value makes a decoder panic, and arguments of another shape are refused with their
//! path.

use convex::Value;
use proptest::{collection::vec, prelude::*};

use super::{at, called};
use crate::{DocumentId, wire::*};

/// Values with the names that the wire uses, in places where it may not use them.
fn anything() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0..4_u8).prop_map(|count| Value::from(f64::from(count))),
        any::<bool>().prop_map(Value::from),
        prop_oneof![Just("a"), Just("accepted"), Just("refused"), Just("pruned")].prop_map(Value::from),
        vec(any::<u8>(), 0..34).prop_map(Value::from),
    ];
    let name = prop::sample::select(vec![
        "deltas",
        "checkpoint",
        "hasMore",
        "epoch",
        "pruned",
        "id",
        "ts",
        "ordinal",
        "bytes",
        "part",
        "hash",
        "index",
        "count",
        "results",
        "status",
        "code",
        "message",
        "documents",
        "changes",
        "fields",
        "removed",
        "scope",
    ]);
    scalar.prop_recursive(4, 40, 6, move |inner| {
        let object = proptest::collection::btree_map(name.clone().prop_map(str::to_owned), inner.clone(), 0..6);
        prop_oneof![vec(inner, 0..4).prop_map(Value::Array), object.prop_map(Value::Object)]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_makes_a_client_panic(answer in anything(), id in prop_oneof![Just("a"), Just("b")]) {
        let _ = PageView::of(&answer).and_then(|page| {
            page.bytes();
            page.rows_after(at(0, 0), at(0, 0))
        });
        let asked = [DocumentId::new(id)];
        if let Ok((_, results)) = push_answer(&answer, asked.iter()) {
            prop_assert_eq!(results.len(), 1);
        }
        document_count(&answer);
        let _ = (peers(&answer), Pace::of(&answer));
    }

    #[test]
    fn no_arguments_make_a_backend_panic(arguments in anything()) {
        let json = serde_json::Value::from(Value::Array(vec![arguments])).to_string();
        for function in FunctionName::ALL {
            let Ok(arguments) = super::super::arguments(function, &json) else { continue };
            match function {
                FunctionName::PushChanges => drop(PushChanges::decode(arguments)),
                FunctionName::PullDeltas => drop(PullDeltas::decode(arguments)),
                FunctionName::InsertDocument | FunctionName::UpdateDocument => drop(PutDocument::decode(arguments)),
                FunctionName::DeleteDocument => drop(document_to_delete(arguments)),
                FunctionName::PullChanges => _ = PullChanges::decode(arguments),
                FunctionName::ChangeStream => {}
                FunctionName::SetPresence => drop(SetPresence::decode(arguments)),
                FunctionName::ListPresence => drop(area_to_list(arguments)),
            }
        }
    }
}

#[test]
fn arguments_of_another_shape_are_refused_and_the_error_says_where() {
    for (function, json, says) in [
        (FunctionName::PullDeltas, "nothing", "InvalidArguments: expected ident"),
        (FunctionName::PullDeltas, "[{}, {}]", "InvalidArguments: 2 arguments instead of one object"),
        (FunctionName::ChangeStream, "[3]", "ArgumentValidationError: Value does not match validator."),
        (FunctionName::PullDeltas, "[]", "missing the required field `checkpoint`"),
        (FunctionName::PullDeltas, r#"[{"checkpoint": {"ts": 1, "ordinal": 0}}]"#, "Path: .checkpoint.ts"),
        (FunctionName::PullDeltas, r#"{"checkpoint": {"ordinal": 0}}"#, "Path: .checkpoint"),
        (
            FunctionName::PushChanges,
            r#"[{"documents": [{"id": "a", "changes": [{}]}]}]"#,
            "Path: .documents[0].changes[0]",
        ),
        (FunctionName::PushChanges, r#"[{"documents": [], "more": 1}]"#, "extra field `more`"),
        (FunctionName::DeleteDocument, r#"[{"collectionName": "tasks"}]"#, "missing the required field `documentId`"),
        (FunctionName::PullChanges, r#"[{"collectionName": "tasks", "checkpoint": {}}]"#, "`lastModified`"),
    ] {
        let error = super::super::arguments(function, json).expect_err(json);
        assert!(error.contains(says), "{json}: {error}");
    }
    // An empty list of arguments stands for an object without fields.
    called(FunctionName::ChangeStream, Default::default());
    assert!(super::super::arguments(FunctionName::ChangeStream, "[]").is_ok());
}
