//! One WebSocket.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code},
};
use convex::Value;
use convex_sync_types::{ServerMessage, SessionRequestSeqNumber};
use futures::{Sink, SinkExt, StreamExt};
use serde_json::Value as Json;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use super::{
    Server,
    allowance::Allowance,
    session::{Queries, Session, Step},
};
use crate::backend::{
    limits::{OUTGOING_MESSAGES, PING_EVERY, PINGS, WAITING_MUTATION_BYTES, WAITING_MUTATIONS},
    writer::Reply,
};

/// Serves a connection until either side ends it.
pub(super) async fn run(socket: WebSocket, server: Arc<Server>) {
    let (sink, mut incoming) = socket.split();
    let (outgoing, messages) = mpsc::channel(OUTGOING_MESSAGES);
    let patience = server.patience;
    let every = PING_EVERY.min(patience / PINGS).max(Duration::from_millis(1));
    let writing = tokio::spawn(write(sink, messages, patience, every));
    let mut stopping = server.stopping.clone();
    let mut token = server.token.subscribe();
    let (replies, mut replied) = mpsc::unbounded_channel::<(SessionRequestSeqNumber, Reply)>();
    let mut ping = interval(every);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.reset();

    let mut session = Session::new(server.clone());
    let news = Arc::new(Notify::new());
    let _watching = Watching(tokio::spawn(watch(server.clone(), session.queries(), news.clone())));
    let caller = server.jobs.caller();
    // Answers that wait for room, and mutations whose answers are still to come: together they are bounded.
    let mut ready: VecDeque<Json> = VecDeque::new();
    let mut running = VecDeque::new();
    let mut is_stale = false;
    let mut allowance = Allowance::new(Instant::now());
    let mut held_back = None;
    let mut heard = Instant::now();
    let end = loop {
        let waiting: usize = running.iter().sum();
        let reads =
            held_back.is_none() && ready.len() + running.len() < WAITING_MUTATIONS && waiting < WAITING_MUTATION_BYTES;
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
                // Answers come in the order of the calls.
                running.pop_front();
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
            () = news.notified() => is_stale = true,
            () = sleep_until(held_back.unwrap_or(heard)), if held_back.is_some() => held_back = None,
            message = incoming.next(), if reads => {
                heard = Instant::now();
                held_back = allowance.take(message_bytes(&message), heard);
                let text = match message {
                    Some(Ok(Message::Text(text))) => text,
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(Message::Binary(_))) => break Some("only text messages are understood".to_owned()),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break None,
                };
                match session.handle(&text) {
                    Step::Nothing => {}
                    Step::Transition => is_stale = true,
                    Step::Answer(answer) => {
                        ready.push_back(answer);
                        is_stale = true;
                    }
                    Step::Run { request, collection, mutation } => {
                        running.push_back(text.len());
                        let replies = replies.clone();
                        // The connection may be gone when the answer comes.
                        server.jobs.mutate((caller, text.len()), collection, mutation, move |reply| {
                            drop(replies.send((request, reply)));
                        });
                    }
                    Step::End(last, reason) => {
                        ready.push_back(last);
                        break Some(reason);
                    }
                }
            }
            _ = ping.tick() => {
                if !reads {
                    // It may have said much.
                    heard = Instant::now();
                } else if heard.elapsed() > patience {
                    break Some(format!("nothing was heard for {} seconds", patience.as_secs()));
                }
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

/// Tells of news that concern a connection. A task of its own, because of all that is committed most connections have to do with little: this looks, and
/// the connection, with all that it waits for, sleeps on.
async fn watch(server: Arc<Server>, queries: Queries, news: Arc<Notify>) {
    let mut published = server.published.clone();
    while published.changed().await.is_ok() {
        if queries.are_due(&server.log) {
            news.notify_one();
        }
    }
}

/// Ends with its connection.
struct Watching(JoinHandle<()>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends messages until there are no more, or the other side does not take them. Now and then a WebSocket's ping follows, which the other side
/// answers by itself.
async fn write(
    mut sink: impl Sink<Message> + Unpin,
    mut messages: mpsc::Receiver<Message>,
    patience: Duration,
    every: Duration,
) {
    let mut pinged = Instant::now();
    while let Some(message) = messages.recv().await {
        let is_last = matches!(message, Message::Close(_));
        if !matches!(timeout(patience, sink.send(message)).await, Ok(Ok(()))) {
            return;
        }
        if !is_last && pinged.elapsed() >= every / 2 {
            pinged = Instant::now();
            if !matches!(timeout(patience, sink.send(Message::Ping(Bytes::new()))).await, Ok(Ok(()))) {
                return;
            }
        }
    }
}

fn message_bytes<E>(message: &Option<Result<Message, E>>) -> usize {
    match message {
        Some(Ok(Message::Text(text))) => text.len(),
        Some(Ok(Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes))) => bytes.len(),
        Some(Ok(Message::Close(_)) | Err(_)) | None => 0,
    }
}

fn text(message: &Json) -> Message {
    Message::Text(message.to_string().into())
}

/// A close frame holds at most 123 bytes of reason.
fn close_reason(reason: &str) -> Utf8Bytes {
    Utf8Bytes::from(&reason[..reason.floor_char_boundary(123)])
}
