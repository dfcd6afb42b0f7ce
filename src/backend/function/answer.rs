//! Answers, as Convex values.

use std::collections::BTreeMap;

use convex::Value;

use crate::backend::log::{DocumentPage, LogPage, PushAnswer};

/// A query's answer.
pub(in crate::backend) enum Answer {
    Deltas(LogPage, String),
    Documents(DocumentPage),
    Stream { timestamp: f64, count: f64 },
}

/// The answer to `pushChanges`.
pub(in crate::backend) fn push_answer(answer: PushAnswer, epoch: &str) -> Value {
    let results = answer
        .results
        .into_iter()
        .map(|(id, result)| {
            let (status, mut fields) = match result {
                Ok(()) => ("accepted", BTreeMap::new()),
                Err(refusal) => ("refused", refusal.fields()),
            };
            fields.insert("id".into(), id.into());
            fields.insert("status".into(), status.into());
            Value::Object(fields)
        })
        .collect::<Vec<_>>();
    fields([("epoch", epoch.into()), ("results", results.into())])
}

/// The answer of the original API's mutations.
pub(in crate::backend) fn success() -> Value {
    fields([("success", true.into())])
}

impl From<Answer> for Value {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Deltas(page, epoch) => {
                let deltas = page.deltas.into_iter().map(|delta| {
                    let mut value = BTreeMap::from([
                        ("id".to_owned(), Value::from(delta.document.as_str())),
                        ("ts".to_owned(), Value::Int64(delta.position.ts)),
                        ("ordinal".to_owned(), Value::Float64(f64::from(delta.position.ordinal))),
                        ("bytes".to_owned(), Value::Bytes(delta.bytes.to_vec())),
                    ]);
                    if let Some(part) = delta.part {
                        let part = fields([
                            ("hash", part.hash.to_vec().into()),
                            ("index", f64::from(part.index).into()),
                            ("count", f64::from(part.count).into()),
                        ]);
                        value.insert("part".to_owned(), part);
                    }
                    Value::Object(value)
                });
                let checkpoint =
                    fields([("ts", page.checkpoint.ts.into()), ("ordinal", f64::from(page.checkpoint.ordinal).into())]);
                let answer = [
                    ("deltas", Value::Array(deltas.collect())),
                    ("checkpoint", checkpoint),
                    ("hasMore", page.has_more.into()),
                    ("epoch", epoch.into()),
                ];
                fields(answer.into_iter().chain(page.pruned.map(|pruned| ("pruned", pruned.into()))))
            }
            Answer::Documents(page) => {
                let changes = page.documents.into_iter().map(|document| {
                    fields([
                        ("documentId", document.id.as_str().into()),
                        ("crdtBytes", document.bytes.into()),
                        ("version", (document.version as f64).into()),
                        ("timestamp", document.timestamp.into()),
                    ])
                });
                fields([
                    ("changes", Value::Array(changes.collect())),
                    ("checkpoint", fields([("lastModified", page.checkpoint.into())])),
                    ("hasMore", page.has_more.into()),
                ])
            }
            Answer::Stream { timestamp, count } => fields([("timestamp", timestamp.into()), ("count", count.into())]),
        }
    }
}

fn fields<'a>(fields: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
