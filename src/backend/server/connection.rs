//! One WebSocket.

use std::{collections::VecDeque, sync::Arc};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use convex::Value;
use convex_sync_types::{ServerMessage, SessionRequestSeqNumber};
use futures::{Sink, SinkExt, StreamExt};
use serde_json::Value as Json;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    Server,
    session::{Session, Step},
};
use crate::backend::{
    limits::{OUTGOING_MESSAGES, PING_EVERY, SEND_TIMEOUT, WAITING_MUTATIONS},
    writer::Reply,
};

/// Serves a connection until either side ends it.
pub(super) async fn run(socket: WebSocket, server: Arc<Server>) {
    let (sink, mut incoming) = socket.split();
    let (outgoing, messages) = mpsc::channel(OUTGOING_MESSAGES);
    let writing = tokio::spawn(write(sink, messages));
    let mut published = server.published.clone();
    let mut stopping = server.stopping.clone();
    let mut token = server.token.subscribe();
    let (replies, mut replied) = mpsc::unbounded_channel::<(SessionRequestSeqNumber, Reply)>();
    let mut ping = interval(PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.reset();

    let mut session = Session::new(server.clone());
    // Answers that wait for room, and mutations whose answers are still to come: together they are bounded.
    let mut ready: VecDeque<Json> = VecDeque::new();
    let mut running = 0;
    let mut is_stale = false;
    let end = loop {
        tokio::select! {
            // Answers before news: a transition that tells of a mutation must not come before its answer.
            biased;
            Ok(_) = stopping.wait_for(|stopping| *stopping) => break Some("the backend is stopping".to_owned()),
            Ok(()) = token.changed() => {
                if let Some((last, reason)) = session.expire() {
                    ready.push_back(last);
                    break Some(reason);
                }
            }
            Some((request, reply)) = replied.recv() => {
                running -= 1;
                ready.push_back(session.answer(request, reply));
                is_stale = true;
            }
            permit = outgoing.reserve(), if !ready.is_empty() || is_stale => {
                let Ok(permit) = permit else { break None };
                match ready.pop_front() {
                    Some(answer) => permit.send(text(&answer)),
                    None => match session.transition() {
                        Some(transition) => permit.send(text(&transition)),
                        None => is_stale = false,
                    },
                }
            }
            Ok(()) = published.changed() => is_stale = true,
            message = incoming.next(), if ready.len() + running < WAITING_MUTATIONS => {
                let text = match message {
                    Some(Ok(Message::Text(text))) => text,
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(Message::Binary(_))) => break Some("only text messages are understood".to_owned()),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break None,
                };
                is_stale = true;
                match session.handle(&text) {
                    Step::Nothing => {}
                    Step::Answer(answer) => ready.push_back(answer),
                    Step::Run { request, collection, mutation } => {
                        running += 1;
                        let replies = replies.clone();
                        // The connection may be gone when the answer comes.
                        server.jobs.mutate(collection, mutation, move |reply| drop(replies.send((request, reply))));
                    }
                    Step::End(last, reason) => {
                        ready.push_back(last);
                        break Some(reason);
                    }
                }
            }
            _ = ping.tick() => {
                // No room means that something else is on its way.
                let _ = outgoing.try_send(text(&ServerMessage::<Value>::Ping.into()));
            }
        }
    };
    if let Some(reason) = end {
        for last in ready {
            // The writer may have given up.
            let _ = outgoing.send(text(&last)).await;
        }
        let _ = outgoing
            .send(Message::Close(Some(CloseFrame { code: close_code::NORMAL, reason: close_reason(&reason) })))
            .await;
        drop(outgoing);
        // It ends by itself: every message has its time limit.
        let _ = writing.await;
    } else {
        writing.abort();
    }
}

/// Sends messages until there are no more, or the other side does not take them.
async fn write(mut sink: impl Sink<Message> + Unpin, mut messages: mpsc::Receiver<Message>) {
    while let Some(message) = messages.recv().await {
        match timeout(SEND_TIMEOUT, sink.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

fn text(message: &Json) -> Message {
    Message::Text(message.to_string().into())
}

/// A close frame holds at most 123 bytes of reason.
fn close_reason(reason: &str) -> Utf8Bytes {
    Utf8Bytes::from(&reason[..reason.floor_char_boundary(123)])
}
