//! The bodies of calls, and the forms of their answers.

use axum::{
    Json,
    body::Bytes,
    extract::rejection::BytesRejection,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use convex::Value;
use convex_sync_types::UdfPath;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value as Json_, json, value::RawValue};

use super::error::HttpError;
use crate::backend::function::{self, CallError};

/// A body as it arrived.
pub(super) type Body = Result<Bytes, BytesRejection>;

/// A call. The official clients send `args` as an array of one object, and ask for `convex_encoded_json`.
#[derive(Deserialize)]
pub(super) struct Call {
    pub path: String,
    pub args: Box<RawValue>,
    #[serde(default)]
    pub format: Option<String>,
}

/// A call of `/api/query_at_ts`.
#[derive(Deserialize)]
pub(super) struct CallAt {
    #[serde(flatten)]
    pub ts: Ts,
    pub path: String,
    pub args: Box<RawValue>,
    #[serde(default)]
    pub format: Option<String>,
}

/// A call of `/api/run/..`, whose URL has the path.
#[derive(Deserialize)]
pub(super) struct CallByUrl {
    pub args: Box<RawValue>,
    #[serde(default)]
    pub format: Option<String>,
}

/// A body of `/api/query_batch`.
#[derive(Deserialize)]
pub(super) struct Batch {
    pub queries: Vec<Call>,
}

/// A commit's time, as `/api/query_ts` returns it: base64 of 8 bytes, the least significant first.
#[derive(Deserialize)]
pub(super) struct Ts {
    ts: String,
}

impl Ts {
    pub(super) fn encode(ts: i64) -> Json_ {
        let mut encoded = Json_::from(Value::Int64(ts));
        json!({ "ts": encoded["$integer"].take() })
    }

    pub(super) fn decode(&self) -> Result<i64, HttpError> {
        match Value::try_from(json!({ "$integer": self.ts })) {
            Ok(Value::Int64(ts)) => Ok(ts),
            _ => Err(HttpError::bad("BadTimestamp", format!("{:?} is not a timestamp of /api/query_ts", self.ts))),
        }
    }
}

/// Reads a body of JSON. Like Convex, this asks for its content type, which a page of another origin cannot send
/// without asking first.
pub(super) fn read<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, HttpError> {
    if !is_json(headers) {
        return Err(HttpError::bad("BadJsonBody", "Expected a body with the header `Content-Type: application/json`."));
    }
    let body = body.map_err(|error| HttpError::bad("BadJsonBody", error.body_text()))?;
    serde_json::from_slice(&body).map_err(|error| HttpError::bad("BadJsonBody", format!("not a call: {error}")))
}

fn is_json(headers: &HeaderMap) -> bool {
    let content = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mime = content.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    mime.strip_prefix("application/").is_some_and(|kind| kind == "json" || kind.ends_with("+json"))
}

/// A function's path.
pub(super) fn path(text: &str) -> Result<UdfPath, HttpError> {
    let bad = |problem: String| {
        HttpError::bad("BadConvexFunctionIdentifier", format!("{text:?} is not the path of a function: {problem}"))
    };
    function::check_path(text).map_err(bad)?;
    text.parse().map_err(|error| bad(format!("{error}")))
}

/// The form of the values in an answer (`ValueFormat` in `crates/value/src/export.rs` of get-convex/convex-backend).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// The encoding of the sync protocol, which every value survives.
    Encoded,
    /// Plain JSON for people. An int64 becomes a string, and bytes become base64.
    Clean,
    /// Plain JSON in which an int64 is a number. Values that JSON lacks are encoded.
    Export,
}

impl Format {
    pub(super) fn parse(name: Option<&str>) -> Result<Self, HttpError> {
        match name {
            Some("convex_encoded_json" | "convex_json") => Ok(Self::Encoded),
            None | Some("json" | "convex_clean_json") => Ok(Self::Clean),
            Some("export_json") => Ok(Self::Export),
            Some(other) => {
                let known = "convex_encoded_json, json or export_json";
                Err(HttpError::bad("BadFormat", format!("the format has to be {known}, and not {other:?}")))
            }
        }
    }

    fn encode(self, value: Value) -> Json_ {
        match self {
            Self::Encoded => Json_::from(value),
            Self::Clean => value.export(),
            Self::Export => exported(value),
        }
    }

    /// The outcome of a call. Convex answers with the status 200 even if the function failed. Convex leaves out the
    /// lines that the function has logged if there are none (`UdfResponse` in `crates/local_backend/src/public_api.rs`),
    /// and here there never are any.
    pub(super) fn outcome(self, result: Result<Value, CallError>) -> Json_ {
        match result {
            Ok(value) => json!({ "status": "success", "value": self.encode(value) }),
            Err(error) => {
                let (message, data) = error.into_parts();
                let mut body = json!({ "status": "error", "errorMessage": message });
                if let Some(data) = data {
                    body["errorData"] = self.encode(data);
                }
                body
            }
        }
    }

    pub(super) fn respond(self, result: Result<Value, CallError>) -> Response {
        (StatusCode::OK, Json(self.outcome(result))).into_response()
    }
}

fn exported(value: Value) -> Json_ {
    match value {
        Value::Int64(number) => number.into(),
        Value::Array(items) => items.into_iter().map(exported).collect(),
        Value::Object(fields) => {
            Json_::Object(fields.into_iter().map(|(name, field)| (name, exported(field))).collect())
        }
        scalar => scalar.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_has_its_form() {
        let object = Value::Object(
            [
                ("bytes".to_owned(), Value::Bytes(vec![1])),
                ("list".to_owned(), Value::Array(vec![Value::Int64(7), Value::Float64(1.5)])),
                ("nan".to_owned(), Value::Float64(f64::NAN)),
            ]
            .into(),
        );
        let encode = |name| Format::parse(name).unwrap().encode(object.clone());
        let encoded = json!({ "bytes": { "$bytes": "AQ==" }, "list": [{ "$integer": "BwAAAAAAAAA=" }, 1.5],
            "nan": { "$float": "AAAAAAAA+H8=" } });
        assert_eq!(encode(Some("convex_encoded_json")), encoded);
        assert_eq!(encode(Some("convex_json")), encoded);
        let clean = json!({ "bytes": "AQ==", "list": ["7", 1.5], "nan": "NaN" });
        for name in [None, Some("json"), Some("convex_clean_json")] {
            assert_eq!(encode(name), clean);
        }
        let exported = json!({ "bytes": { "$bytes": "AQ==" }, "list": [7, 1.5], "nan": { "$float": "AAAAAAAA+H8=" } });
        assert_eq!(encode(Some("export_json")), exported);
        assert!(Format::parse(Some("xml")).is_err());
    }
}
