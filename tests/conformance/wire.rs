//! The steps of cases that are about the protocols themselves.

use std::{
    collections::{BTreeMap, HashMap},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::Value as Json;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

use crate::pattern::{Bindings, fill, mismatch};

/// How long a step may wait for an answer.
const DEADLINE: Duration = Duration::from_secs(60);

/// A request to the HTTP API.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HttpStep {
    method: String,
    pub path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<Json>,
    status: u16,
    #[serde(default)]
    answers: Option<Json>,
    #[serde(default)]
    answer_headers: BTreeMap<String, String>,
}

/// Messages of the sync protocol.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncStep {
    pub socket: String,
    send: Vec<Json>,
    until: Vec<Json>,
}

/// Sends a request. Returns the first deviation of the answer as the error.
pub fn request(step: &HttpStep, address: SocketAddr, bindings: &mut Bindings) -> Result<(), String> {
    let body = match &step.body {
        None => String::new(),
        Some(body) => match fill(body, bindings)? {
            Json::String(text) => text,
            body => body.to_string(),
        },
    };
    let (head, text) = exchange(step, address, &body).map_err(|error| format!("no answer: {error}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
    if status != Some(step.status) {
        return Err(format!("the status is {status:?}, not {}: {text}", step.status));
    }
    for (name, value) in &step.answer_headers {
        let found = head.lines().filter_map(|line| line.split_once(": ")).find(|(found, _)| found == name);
        if found.map(|(_, value)| value) != Some(value) {
            return Err(format!("the header {name} is {found:?}, not {value}"));
        }
    }
    let answer = serde_json::from_str(&text).unwrap_or(Json::String(text));
    step.answers.as_ref().map_or(Ok(()), |pattern| mismatch(pattern, &answer, bindings, "$"))
}

/// The head of the answer, whose header names are in lower case, and its body.
fn exchange(step: &HttpStep, address: SocketAddr, body: &str) -> std::io::Result<(String, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    // HTTP/1.0 is used, because its answers come in one piece.
    let mut head = format!("{} {} HTTP/1.0\r\nhost: {address}\r\n", step.method, step.path);
    for (name, value) in &step.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    Ok((head.to_owned(), body.to_owned()))
}

/// The WebSockets of a case, by the names that its steps give them.
#[derive(Default)]
pub struct Sockets(HashMap<String, WebSocket<TcpStream>>);

impl Sockets {
    /// Sends messages, and waits until messages have come that match the patterns, one after the other.
    pub fn run(&mut self, step: &SyncStep, address: SocketAddr, bindings: &mut Bindings) -> Result<(), String> {
        if !self.0.contains_key(&step.socket) {
            let socket = connect(address).map_err(|error| format!("cannot connect: {error}"))?;
            self.0.insert(step.socket.clone(), socket);
        }
        let socket = self.0.get_mut(&step.socket).ok_or("the socket was just opened")?;
        for message in &step.send {
            let text = fill(message, bindings)?.to_string();
            socket.send(Message::text(text)).map_err(|error| format!("cannot send: {error}"))?;
        }
        step.until.iter().try_for_each(|pattern| until(socket, pattern, bindings))
    }
}

fn connect(address: SocketAddr) -> Result<WebSocket<TcpStream>, String> {
    let stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(DEADLINE)).map_err(|error| error.to_string())?;
    let url = format!("ws://{address}/api/1.28.0/sync");
    client(url, stream).map(|(socket, _)| socket).map_err(|error| error.to_string())
}

/// Takes messages until one matches. The error has the deviation of each if none does.
fn until(socket: &mut WebSocket<TcpStream>, pattern: &Json, bindings: &mut Bindings) -> Result<(), String> {
    let mut passed = Vec::new();
    let started = Instant::now();
    while started.elapsed() < DEADLINE {
        let message = match socket.read() {
            Ok(Message::Text(text)) => serde_json::from_str::<Json>(&text).map_err(|error| error.to_string())?,
            Ok(Message::Close(_)) | Err(_) => break,
            Ok(_) => continue,
        };
        match mismatch(pattern, &message, bindings, "$") {
            Ok(()) => return Ok(()),
            Err(problem) => passed.push(format!("{problem} in {message}")),
        }
    }
    Err(format!("no message matches: {}", passed.join("; ")))
}
