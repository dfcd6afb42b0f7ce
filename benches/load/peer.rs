//! One connection that uses the sync protocol without the official client.

use convex::Value;
use futures::{SinkExt, StreamExt};
use serde_json::{Value as Json, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config, tungstenite::Message};

use crate::Failure;

pub struct Peer {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    query_set: u32,
    request: u32,
}

/// The result of a subscription.
pub struct Page {
    pub chunks: Vec<Vec<u8>>,
    pub checkpoint: Json,
    pub has_more: bool,
}

/// The checkpoint before everything.
pub fn start() -> Json {
    json!({ "ts": { "$integer": "AAAAAAAAAAA=" }, "ordinal": 0.0 })
}

pub fn bytes(bytes: Vec<u8>) -> Json {
    Json::from(Value::Bytes(bytes))
}

impl Peer {
    pub async fn connect(address: &str) -> Result<Self, Failure> {
        let (socket, _) = connect_async_with_config(format!("ws://{address}/api/sync"), None, true).await?;
        let mut peer = Self { socket, query_set: 0, request: 0 };
        let session = uuid::Uuid::new_v4().to_string();
        peer.say(json!({ "type": "Connect", "sessionId": session, "connectionCount": 0, "lastCloseReason": "InitialConnect" })).await?;
        Ok(peer)
    }

    pub async fn say(&mut self, message: Json) -> Result<(), Failure> {
        Ok(self.socket.send(Message::text(message.to_string())).await?)
    }

    pub async fn next(&mut self) -> Result<Json, Failure> {
        loop {
            match self.socket.next().await.ok_or("closed")?? {
                Message::Text(text) => {
                    let message: Json = serde_json::from_str(&text)?;
                    if message["type"] != "Ping" {
                        return Ok(message);
                    }
                }
                Message::Close(frame) => return Err(format!("closed: {frame:?}").into()),
                _ => {}
            }
        }
    }

    /// Subscribes from a checkpoint on, and ends the previous subscription.
    pub async fn subscribe(&mut self, scope: Option<&str>, checkpoint: &Json) -> Result<(), Failure> {
        let mut arguments = json!({ "checkpoint": checkpoint });
        if let Some(scope) = scope {
            arguments["scope"] = scope.into();
        }
        let base = self.query_set;
        self.query_set += 1;
        let add = json!({ "type": "Add", "queryId": base, "udfPath": "tasks:pullDeltas", "args": [arguments] });
        let mut modifications = vec![add];
        if base > 0 {
            modifications.push(json!({ "type": "Remove", "queryId": base - 1 }));
        }
        self.say(json!({ "type": "ModifyQuerySet", "baseVersion": base, "newVersion": base + 1, "modifications": modifications })).await
    }

    /// Pushes a change without waiting for the answer. The answer will have the returned number.
    pub async fn push(
        &mut self,
        collection: &str,
        scope: &str,
        id: &str,
        change: &[u8],
        fields: Json,
    ) -> Result<u32, Failure> {
        self.request += 1;
        let change = json!({ "bytes": bytes(change.to_vec()) });
        let arguments = json!({ "documents": [{ "id": id, "changes": [change], "fields": fields }], "scope": scope });
        let path = format!("{collection}:pushChanges");
        self.say(json!({ "type": "Mutation", "requestId": self.request, "udfPath": path, "args": [arguments] }))
            .await?;
        Ok(self.request)
    }

    /// The newest subscription's result, if the message contains it.
    pub fn page(&self, message: &Json) -> Result<Option<Page>, Failure> {
        let Some(newest) = self.query_set.checked_sub(1) else { return Ok(None) };
        let ours = |one: &&Json| one["queryId"] == newest && one["value"].is_object();
        let modifications = message["modifications"].as_array();
        let Some(value) = modifications.and_then(|all| all.iter().find(ours)).map(|one| &one["value"]) else {
            return Ok(None);
        };
        let chunk = |delta: &Json| match Value::try_from(delta["bytes"].clone()) {
            Ok(Value::Bytes(bytes)) => Ok(bytes),
            _ => Err("a delta without bytes"),
        };
        let deltas = value["deltas"].as_array().ok_or("no deltas")?;
        Ok(Some(Page {
            chunks: deltas.iter().map(chunk).collect::<Result<_, _>>()?,
            checkpoint: value["checkpoint"].clone(),
            has_more: value["hasMore"].as_bool().ok_or("it does not tell whether there is more")?,
        }))
    }
}
