//! Addresses at which nothing answers, or nothing that answers as a deployment does.

use std::{sync::Arc, time::Duration};

use bevy_convex_replicate::{
    CollectionIndex,
    replica::{FromBackend, Push, PushNumber, ToBackend},
    transport::{AuthToken, Notice, Reason, Request},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket},
};

use crate::rig::{Rig, tokens, within};

const TASKS: CollectionIndex = CollectionIndex(0);

/// An address at which nothing listens, and at which nothing else can listen while the socket is held.
fn closed_port() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    (socket, url)
}

fn disconnected(notice: Notice) -> Option<(Reason, Option<Duration>)> {
    match notice {
        Notice::Disconnected { reason, retry_in } => Some((reason, retry_in)),
        _ => None,
    }
}

#[tokio::test]
async fn a_closed_port_is_told_in_the_systems_words_and_tried_again() {
    let (_socket, url) = closed_port();
    let mut rig = Rig::start(&url, None);
    let mut last = None;
    for attempt in 1..=3 {
        match rig.next().await {
            Notice::Connecting { attempt: told, reason } => assert_eq!((told, reason), (attempt, last.take())),
            other => panic!("{other:?}"),
        }
        let (reason, retry_in) = disconnected(rig.next().await).unwrap();
        assert!(matches!(&reason, Reason::Unreachable(why) if why.contains("efused")), "{reason:?}");
        assert!(retry_in.unwrap() <= Duration::from_millis(100) * 2u32.pow(attempt - 1));
        last = Some(reason);
    }
}

#[tokio::test]
async fn an_unknown_host_is_unreachable() {
    let mut rig = Rig::start("http://no-such-host.invalid", None);
    let (reason, retry_in) = rig.until("a disconnect", disconnected).await;
    assert!(matches!(&reason, Reason::Unreachable(why) if why.contains("no-such-host.invalid")), "{reason:?}");
    assert!(retry_in.is_some());
}

#[tokio::test]
async fn a_bad_url_is_tried_only_when_it_is_asked_for() {
    let mut rig = Rig::start("ws://127.0.0.1:3210", None);
    for _ in 0..2 {
        assert!(matches!(rig.next().await, Notice::Connecting { attempt: 1, .. }));
        let (reason, retry_in) = disconnected(rig.next().await).unwrap();
        assert!(matches!(&reason, Reason::BadUrl(why) if why.contains("ws:")), "{reason:?}");
        assert_eq!(retry_in, None);
        rig.online(true);
    }
}

#[tokio::test]
async fn something_that_is_no_deployment_is_told_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 1024];
                if socket.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let _ = socket.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
                }
            });
        }
    });
    let mut rig = Rig::start(&url, None);
    let (reason, retry_in) = rig.until("a disconnect", disconnected).await;
    assert!(matches!(&reason, Reason::Unreachable(why) if why.contains("no Convex deployment")), "{reason:?}");
    assert!(retry_in.is_some());
}

#[tokio::test]
async fn without_a_token_nothing_is_sent_and_the_callback_is_asked_for_a_fresh_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let mut received = Vec::new();
        for _ in 0..3 {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.read_to_end(&mut received).await.unwrap();
        }
        received
    });
    let (auth, asked) = tokens(vec![Err("signed out")]);
    let mut rig = Rig::start(&url, Some(auth));
    for _ in 0..3 {
        let (reason, retry_in) = rig.until("a disconnect", disconnected).await;
        assert_eq!(reason, Reason::Unauthenticated("signed out".into()));
        assert!(retry_in.is_some());
    }
    assert_eq!(within("three probes", server).await.unwrap(), b"");
    assert_eq!(asked.lock().unwrap()[..3], [false, true, true]);
}

#[tokio::test]
async fn a_callback_that_panics_is_an_error_like_others() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let auth: AuthToken = Arc::new(|_| panic!("an app's bug"));
    let mut rig = Rig::start(&format!("http://{}", listener.local_addr().unwrap()), Some(auth));
    for _ in 0..2 {
        let (reason, _) = rig.until("a disconnect", disconnected).await;
        assert!(matches!(&reason, Reason::Unauthenticated(why) if why.contains("panicked")), "{reason:?}");
    }
}

#[tokio::test]
async fn asked_to_be_offline_it_does_not_even_try() {
    let (_socket, url) = closed_port();
    let mut rig = Rig::start(&url, None);
    rig.online(false);
    assert_eq!(disconnected(rig.next().await), Some((Reason::Asked, None)));
    rig.online(true);
    assert!(matches!(rig.next().await, Notice::Connecting { attempt: 1, reason: Some(Reason::Asked) }));
    assert!(matches!(disconnected(rig.next().await), Some((Reason::Unreachable(_), Some(_)))));
    rig.online(false);
    rig.until("being offline", |notice| disconnected(notice).filter(|(reason, _)| *reason == Reason::Asked)).await;
}

#[tokio::test]
async fn a_push_without_a_connection_is_dropped_and_an_unknown_collection_is_refused() {
    let (_socket, url) = closed_port();
    let mut rig = Rig::start(&url, None);
    rig.online(false);
    rig.transport.request(Request::Backend(ToBackend::Push(Push {
        number: PushNumber::default(),
        collection: TASKS,
        documents: Vec::new(),
    })));
    rig.until("a drop", |notice| {
        matches!(notice, Notice::Backend(FromBackend::PushDropped { collection: TASKS, .. })).then_some(())
    })
    .await;
    let none = CollectionIndex(9);
    rig.transport.request(Request::Backend(ToBackend::Push(Push {
        number: PushNumber::default(),
        collection: none,
        documents: Vec::new(),
    })));
    assert!(
        matches!(rig.next().await, Notice::Backend(FromBackend::PushRefused { collection, .. }) if collection == none)
    );
    rig.transport.request(Request::Backend(ToBackend::Subscribe { collection: none, checkpoint: Default::default() }));
    assert!(
        matches!(rig.next().await, Notice::Backend(FromBackend::PullRefused { collection, .. }) if collection == none)
    );
}

#[tokio::test]
async fn dropping_the_transport_ends_its_notices() {
    let (_socket, url) = closed_port();
    let rig = Rig::start(&url, None);
    let mut notices = rig.notices;
    drop(rig.transport);
    within("the end", async { while notices.recv().await.is_some() {} }).await;
}

#[tokio::test]
async fn more_notices_than_there_is_room_for_all_arrive() {
    let (_socket, url) = closed_port();
    let mut rig = Rig::start(&url, None);
    rig.online(false);
    for _ in 0..100 {
        rig.transport.request(Request::Backend(ToBackend::Push(Push {
            number: PushNumber::default(),
            collection: TASKS,
            documents: Vec::new(),
        })));
    }
    let mut dropped = 0;
    rig.until("all hundred", |notice| {
        dropped += usize::from(matches!(notice, Notice::Backend(FromBackend::PushDropped { .. })));
        (dropped == 100).then_some(())
    })
    .await;
}
