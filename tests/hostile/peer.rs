//! A client of the sync protocol that sends any message.

use std::{future::Future, time::Duration};

use bevy_convex_replicate::backend::Backend;
use convex::Value;
use futures::{SinkExt, StreamExt};
use serde_json::{Value as Json, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use crate::chunks;

/// Long enough for any machine. A test ends as soon as its condition is true.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub struct Peer {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    request: u32,
    query_set: u32,
}

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("timed out waiting for {what}"))
}

/// Runs the client side of a test.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

impl Peer {
    /// Connects, and sends the message `Connect`.
    pub async fn connect(backend: &Backend) -> Self {
        let mut peer = Self::silent(backend).await;
        let session = uuid::Uuid::new_v4().to_string();
        let hello = json!({ "type": "Connect", "sessionId": session, "connectionCount": 0, "lastCloseReason": "InitialConnect" });
        assert!(peer.say(hello.to_string()).await);
        peer
    }

    /// Connects without sending a message.
    pub async fn silent(backend: &Backend) -> Self {
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let url = format!("ws://{}/api/sync", backend.address());
        let connected = within("a connection", connect_async_with_config(url, Some(config), true)).await;
        Self { socket: connected.expect("the backend takes connections").0, request: 0, query_set: 0 }
    }

    /// Ends without a message, as a client whose machine or network fails: the kernel drops every packet that arrives
    /// for it, so the backend's packets are never acknowledged, and nothing ends the connection. On systems other than
    /// Linux it is only silent.
    pub fn vanish(&self) {
        #[cfg(target_os = "linux")]
        {
            /// A BPF program that keeps 0 bytes of each packet.
            const NOTHING: socket2::SockFilter = socket2::SockFilter::new(0x06, 0, 0, 0);
            let MaybeTlsStream::Plain(stream) = self.socket.get_ref() else {
                panic!("it is a connection in the clear");
            };
            socket2::SockRef::from(stream).attach_filter(&[NOTHING]).expect("a socket takes a filter");
        }
    }

    /// Sends a message and returns whether that was possible.
    pub async fn say(&mut self, text: impl Into<String>) -> bool {
        self.send(Message::text(text.into())).await
    }

    /// As above, without a deadline.
    pub async fn try_say(&mut self, text: String) -> bool {
        self.socket.send(Message::text(text)).await.is_ok()
    }

    pub async fn send(&mut self, message: Message) -> bool {
        within("a message to be taken", self.socket.send(message)).await.is_ok()
    }

    /// The next message that is not a ping; `None` if the connection was closed.
    pub async fn next(&mut self) -> Option<Json> {
        within("a message", async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => {
                        let message: Json = serde_json::from_str(&text).expect("the backend says JSON");
                        if message["type"] != "Ping" {
                            return Some(message);
                        }
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(_)) => {}
                }
            }
        })
        .await
    }

    /// Calls a mutation; `None` if the connection was closed.
    pub async fn mutate(&mut self, path: &str, arguments: Json) -> Option<Json> {
        self.request += 1;
        let id = 4_000_000_000 + self.request;
        let call = json!({ "type": "Mutation", "requestId": id, "udfPath": path, "args": [arguments] });
        if !self.say(call.to_string()).await {
            return None;
        }
        loop {
            let message = self.next().await?;
            if message["type"] == "MutationResponse" && message["requestId"] == id {
                return Some(message);
            }
        }
    }

    /// Pushes a document of one change and returns whether it was accepted.
    pub async fn push(&mut self, collection: &str, scope: Option<&str>, id: &str, changes: &[Vec<u8>]) -> bool {
        let answer = self.mutate(&format!("{collection}:pushChanges"), pushed(scope, id, changes)).await;
        answer.is_some_and(|answer| answer["result"]["results"][0]["status"] == "accepted")
    }

    pub async fn subscribe(&mut self, collection: &str, scope: Option<&str>) -> bool {
        let mut arguments = json!({ "checkpoint": { "ts": { "$integer": "AAAAAAAAAAA=" }, "ordinal": 0.0 } });
        if let Some(scope) = scope {
            arguments["scope"] = scope.into();
        }
        let add = json!({ "type": "Add", "queryId": self.query_set, "udfPath": format!("{collection}:pullDeltas"), "args": [arguments] });
        let base = self.query_set;
        self.query_set += 1;
        let message =
            json!({ "type": "ModifyQuerySet", "baseVersion": base, "newVersion": base + 1, "modifications": [add] });
        self.say(message.to_string()).await
    }
}

/// The arguments of a push of one document.
pub fn pushed(scope: Option<&str>, id: &str, changes: &[Vec<u8>]) -> Json {
    let changes: Vec<Json> =
        changes.iter().map(|bytes| json!({ "bytes": Json::from(Value::Bytes(bytes.clone())) })).collect();
    let mut arguments = json!({ "documents": [{ "id": id, "changes": changes }] });
    if let Some(scope) = scope {
        arguments["scope"] = scope.into();
    }
    arguments
}

/// Checks that a new client can connect and push.
pub async fn is_well(backend: &Backend) {
    let mut peer = Peer::connect(backend).await;
    let id = uuid::Uuid::new_v4().to_string();
    assert!(
        peer.push("wellbeing", Some(&id), &id, &chunks::changes(&mut chunks::counter(1))).await,
        "a healthy push is accepted"
    );
    assert!(peer.subscribe("wellbeing", Some(&id)).await);
    loop {
        let message = peer.next().await.expect("a healthy connection stays open");
        if let Some(deltas) = message["modifications"][0]["value"]["deltas"].as_array()
            && deltas.iter().any(|delta| delta["id"] == id)
        {
            return;
        }
    }
}
