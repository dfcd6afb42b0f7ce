//! Drives a [`Session`] with one WebSocket.
//!
//! The session makes the decisions of the protocol. This module and [`admission`](super::admission) decide about the
//! socket: whether it gets a place, when a stranger's time is over, how a reason fits into a close frame, and when to
//! ping. The simulator does not cover these decisions, because it has no sockets.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code},
};
use convex::Value;
use convex_sync_types::{ServerMessage, SessionRequestSeqNumber};
use futures::{Sink, SinkExt, StreamExt};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use super::{
    Server,
    admission::{Pass, Standing},
    session::{Frame, Input, Output, Queries, Session, ping_every},
};
use crate::backend::{
    limits::{OUTGOING_MESSAGES, PRESENCE_GAP},
    metrics::Refused,
    writer::Reply,
};

/// Serves a connection until either side ends it.
///
/// The socket belongs to a stranger until the session is authenticated.
pub(super) async fn run(socket: WebSocket, server: Arc<Server>, standing: Arc<Standing>) {
    let (sink, mut incoming) = socket.split();
    let (outgoing, messages) = mpsc::channel(OUTGOING_MESSAGES);
    let patience = server.patience;
    let writing = tokio::spawn(write(sink, messages, patience, ping_every(patience)));
    let mut stopping = server.stopping.clone();
    let mut access = server.access.subscribe();
    let (replies, mut replied) = mpsc::unbounded_channel::<(SessionRequestSeqNumber, Reply)>();
    let caller = server.jobs.caller();

    let origin = Instant::now();
    let first_access = access.borrow_and_update().clone();
    let mut session = Session::new(first_access, patience, Duration::ZERO);
    let news = Arc::new(Notify::new());
    let moved = Arc::new(Notify::new());
    let mut seat = server.log.presence().seat(moved.clone());
    let mut look_at = origin;
    let mut followed = session.follow_version();
    let mut user = session.user().cloned();
    let _watching = Watching(tokio::spawn(watch(server.clone(), session.queries(), news.clone())));
    let mut pass: Option<Pass> = None;
    loop {
        if session.is_open() && session.is_authenticated() != pass.is_some() {
            pass = session.is_authenticated().then(|| standing.enter()).flatten();
            if pass.is_none() && session.is_authenticated() {
                server.metrics().refused(Refused::Full);
                session.handle(
                    Input::TurnedAway("this backend has as many connections as it can serve"),
                    origin.elapsed(),
                );
            }
        }
        if session.user() != user.as_ref() {
            // A new user of the connection must not be seen with the values of the user before.
            seat.leave(std::time::Instant::now());
            user = session.user().cloned();
        }
        if session.follow_version() != followed {
            followed = session.follow_version();
            seat.follow(session.follows());
        }
        while let Some(output) = session.poll() {
            match output {
                Output::Run { request, key, collection, mutation, user, bytes } => {
                    let replies = replies.clone();
                    // The connection may be gone when the answer comes.
                    server.jobs.mutate((caller, bytes), key, collection, mutation, user, move |reply| {
                        drop(replies.send((request, reply)));
                    });
                }
                Output::Present { request, area, call, user } => {
                    let result = seat.set(area, call, user, std::time::Instant::now());
                    session.handle(Input::Presented(request, result), origin.elapsed());
                }
                // Without room for the ping, nothing has to be done.
                Output::Ping => drop(outgoing.try_send(text(ServerMessage::<Value>::Ping.into()))),
            }
        }
        if !session.is_open() {
            break;
        }
        let due = origin + session.poll_timeout();
        tokio::select! {
            // Older work goes first: answers, then frames, then messages of the client.
            biased;
            Ok(_) = stopping.wait_for(|stopping| *stopping) => session.handle(Input::Stopping, origin.elapsed()),
            Ok(()) = access.changed() => {
                let access = access.borrow_and_update().clone();
                session.handle(Input::AccessChanged(access), origin.elapsed());
            }
            Some((request, reply)) = replied.recv() => {
                session.handle(Input::Answered(request, reply), origin.elapsed());
            }
            permit = outgoing.reserve(), if session.has_frames() => match permit {
                Ok(permit) => {
                    if let Some(frame) = session.next_frame(&server.log) {
                        permit.send(message(frame));
                    }
                }
                Err(_) => session.handle(Input::Gone, origin.elapsed()),
            },
            () = sleep_until(standing.until().unwrap_or_else(Instant::now)), if pass.is_none() => {
                server.metrics().refused(Refused::LateStranger);
                session.handle(Input::TurnedAway("no valid token was sent in time"), origin.elapsed());
            }
            () = news.notified() => session.handle(Input::News, origin.elapsed()),
            () = until_moved(&moved, look_at) => {
                look_at = Instant::now() + PRESENCE_GAP;
                session.handle(Input::Look, origin.elapsed());
            }
            message = incoming.next(), if session.reads() => {
                // A ping may come between the fragments of a message.
                if matches!(message, Some(Ok(Message::Text(_) | Message::Binary(_)))) {
                    standing.finish();
                }
                session.handle(input(&message), origin.elapsed());
            }
            () = sleep_until(due) => session.handle(Input::Timer, origin.elapsed()),
        }
    }
    if !session.is_authenticated() {
        // A token that ends takes at once what was shown with it.
        seat.leave(std::time::Instant::now());
    }
    drop(seat);
    if session.is_over() {
        writing.abort();
        return;
    }
    while let Some(frame) = session.next_frame(&server.log) {
        // The writer may have given up.
        let _ = outgoing.send(message(frame)).await;
    }
    drop(outgoing);
    // The task ends on its own, because every message has its time limit.
    let _ = writing.await;
}

/// Waits until an area changes that the connection follows, but not before `look_at`.
async fn until_moved(moved: &Notify, look_at: Instant) {
    sleep_until(look_at).await;
    moved.notified().await;
}

/// Wakes the connection when a commit concerns it. This is a task of its own, because most commits do not concern most
/// connections. This small task looks at each commit, while the connection with all its state sleeps.
async fn watch(server: Arc<Server>, queries: Queries, news: Arc<Notify>) {
    let mut published = server.published.clone();
    while published.changed().await.is_ok() {
        if queries.are_due(&server.log) {
            news.notify_one();
        }
    }
}

/// The task that watches the log. It ends when this is dropped with its connection.
struct Watching(JoinHandle<()>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends messages until there are no more, or the other side does not take them. It also sends a WebSocket ping now and
/// then, which the other side's library answers.
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

fn input<E>(message: &Option<Result<Message, E>>) -> Input<'_> {
    match message {
        Some(Ok(Message::Text(text))) => Input::Text(text),
        Some(Ok(Message::Binary(bytes))) => Input::Binary(bytes.len()),
        Some(Ok(Message::Ping(bytes) | Message::Pong(bytes))) => Input::Alive(bytes.len()),
        Some(Ok(Message::Close(_)) | Err(_)) | None => Input::Gone,
    }
}

fn message(frame: Frame) -> Message {
    match frame {
        Frame::Message(message) => text(message),
        Frame::Close(reason) => {
            Message::Close(Some(CloseFrame { code: close_code::NORMAL, reason: close_reason(&reason) }))
        }
    }
}

fn text(message: serde_json::Value) -> Message {
    Message::Text(message.to_string().into())
}

/// A close frame holds at most 123 bytes of reason.
fn close_reason(reason: &str) -> Utf8Bytes {
    Utf8Bytes::from(&reason[..reason.floor_char_boundary(123)])
}
