//! Convex's HTTP API, written by hand. Tests of the backend's answers to strangers use none of the backend's code.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::{Value as Json, json};

/// A longer time than any answer takes on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// The result of a call. If the application refused the call, the result has the error's data.
pub enum Outcome {
    Returned(Json),
    Failed { message: String, data: Option<Json> },
}

/// Calls a function; `kind` is `query` or `mutation`. `args` are in Convex's JSON encoding. A caller without a token is
/// nobody.
pub fn call(address: SocketAddr, kind: &str, path: &str, args: &Json, token: Option<&str>) -> Outcome {
    let body = json!({ "path": path, "args": [args], "format": "convex_encoded_json" }).to_string();
    let text = post(address, &format!("/api/{kind}"), &body, token).expect("the backend answers");
    let failed = |message: String| Outcome::Failed { message, data: None };
    let Ok(mut answer) = serde_json::from_str::<Json>(&text) else {
        return failed(text);
    };
    if answer["status"] == "success" {
        return Outcome::Returned(answer["value"].take());
    }
    match answer["errorMessage"].as_str() {
        None => failed(text),
        Some(message) => Outcome::Failed {
            message: message.to_owned(),
            data: answer.get("errorData").filter(|data| !data.is_null()).cloned(),
        },
    }
}

/// The body of the answer, with any status.
fn post(address: SocketAddr, endpoint: &str, body: &str, token: Option<&str>) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    // HTTP/1.0 is used, because its answers come in one piece.
    let head = format!(
        "POST {endpoint} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{}\r\n",
        body.len(),
        token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    Ok(body.to_owned())
}
