//! Arguments are validated as by Convex.

use convex::Value;

use crate::support::*;

#[tokio::test]
async fn an_argument_error_names_the_path_the_value_and_the_validator() {
    let backend = backend();
    let mut client = client(&backend).await;
    let document = |fields| Value::Array(vec![Value::Object(fields)]);

    let number = document(object([("id", 7.0.into()), ("changes", Value::Array(vec![]))]));
    let message = failed(mutate(&mut client, "tasks:pushChanges", [("documents", number)]).await);
    assert_eq!(
        message,
        "ArgumentValidationError: Value does not match validator.\nPath: .documents[0].id\nValue: 7.0\nValidator: v.string()"
    );

    let chunk = Value::Object(object([("bytes", "text".into())]));
    let wrong = document(object([("id", "t1".into()), ("changes", Value::Array(vec![chunk]))]));
    let message = failed(mutate(&mut client, "tasks:pushChanges", [("documents", wrong)]).await);
    assert!(
        message.contains("Path: .documents[0].changes[0].bytes\nValue: \"text\"\nValidator: v.bytes()"),
        "{message}"
    );

    let message = failed(mutate(&mut client, "tasks:pushChanges", []).await);
    assert!(
        message.starts_with("ArgumentValidationError: Object is missing the required field `documents`."),
        "{message}"
    );

    let message = failed(
        mutate(&mut client, "tasks:pushChanges", [("documents", Value::Array(vec![])), ("more", 1.0.into())]).await,
    );
    assert!(
        message
            .starts_with("ArgumentValidationError: Object contains extra field `more` that is not in the validator.\n"),
        "{message}"
    );
    assert!(message.contains("Validator: v.object({documents: v.array(v.object({"), "{message}");
}

#[tokio::test]
async fn float64_and_int64_are_not_mixed() {
    let backend = backend();
    let mut client = client(&backend).await;
    let mixed = Value::Object(object([("ts", 0.0.into()), ("ordinal", 0.0.into())]));
    let message = failed(query(&mut client, "tasks:pullDeltas", [("checkpoint", mixed)]).await);
    assert!(message.contains("Path: .checkpoint.ts\nValue: 0.0\nValidator: v.int64()"), "{message}");
    let mixed = Value::Object(object([("ts", 0i64.into()), ("ordinal", 0i64.into())]));
    let message = failed(query(&mut client, "tasks:pullDeltas", [("checkpoint", mixed)]).await);
    assert!(message.contains("Path: .checkpoint.ordinal\nValue: 0n\nValidator: v.float64()"), "{message}");
}

#[tokio::test]
async fn an_unknown_function_and_a_function_of_another_kind_have_different_errors() {
    let backend = backend();
    let mut client = client(&backend).await;
    let message = failed(query(&mut client, "tasks:nothing", []).await);
    assert!(message.contains("Could not find public function for 'tasks:nothing'"), "{message}");
    let message = failed(mutate(&mut client, "tasks:pullDeltas", []).await);
    assert!(message.contains("it is defined as Query"), "{message}");
    let message = failed(query(&mut client, "tasks:pushChanges", []).await);
    assert!(message.contains("it is defined as Mutation"), "{message}");
    let message = failed(client.action("tasks:pushChanges", object([])).await.unwrap());
    assert!(message.contains("as Action, but it is defined as Mutation"), "{message}");
    let message = failed(client.action("tasks:nothing", object([])).await.unwrap());
    assert!(message.contains("Could not find public function"), "{message}");
}

#[tokio::test]
async fn any_module_is_a_collection() {
    let backend = backend();
    let mut client = client(&backend).await;
    for collection in ["tasks", "games/chess", "a1"] {
        let mut task = Writer::new("t1");
        task.put("n", 1);
        accepted(&push(&mut client, collection, vec![task.document(None)]).await);
        assert_eq!(backend.rows(collection).len(), 1);
    }
    assert_eq!(backend.stats().collections, 3);
}
