//! Connections that end, backends that stop, and tokens that are refused.

use bevy_convex_replicate::{
    replica::{FromBackend, Position},
    transport::{Notice, Reason},
};

use crate::{
    documents::{document, ids},
    proxy::Proxy,
    rig::{Rig, Server, tokens, within},
};

const START: Position = Position { ts: 0, ordinal: 0 };

fn reason(notice: Notice) -> Option<Reason> {
    match notice {
        Notice::Disconnected { reason, .. } => Some(reason),
        _ => None,
    }
}

fn dropped(notice: Notice) -> Option<()> {
    matches!(notice, Notice::Backend(FromBackend::PushDropped { .. })).then_some(())
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_of_a_push_drops_it_and_repeating_it_changes_nothing() {
    let server = Server::start();
    let proxy = Proxy::to(server.address()).await;
    let mut ada = Rig::start(&proxy.url(), None);
    let mut bob = Rig::start(&server.url(), None);
    ada.subscribe(START);
    ada.page().await;
    bob.subscribe(START);
    bob.page().await;

    proxy.mute();
    let push = [document("a", "x")];
    ada.request_push(&push);
    let (_, at) = bob.rows(START, 1).await;
    proxy.cut();
    assert!(matches!(ada.until("the end", reason).await, Reason::Lost(_)));
    ada.until("a drop", dropped).await;
    // The push had arrived: it is received as a page, and pushing it again is accepted and changes nothing.
    assert_eq!(ids(&ada.rows(START, 1).await.0), ["a"]);
    ada.push(&push).await;
    ada.push(&[document("b", "x")]).await;
    assert_eq!(ids(&bob.rows(at, 1).await.0), ["b"]);
    assert_eq!(ids(&ada.rows(at, 1).await.0), ["b"]);
}

#[tokio::test]
async fn after_many_cuts_every_row_has_come_once() {
    let server = Server::start();
    let proxy = Proxy::to(server.address()).await;
    let mut ada = Rig::start(&server.url(), None);
    let mut bob = Rig::start(&proxy.url(), None);
    bob.subscribe(START);
    let mut at = bob.page().await.to;
    ada.connected().await;
    for round in 0..5 {
        ada.push(&[document(&format!("{round}"), "x")]).await;
        (_, at) = bob.rows(at, 1).await;
        proxy.cut();
        // The push is made while the backend is stopped, and before or after it starts again.
        ada.push(&[document(&format!("{round}+"), "x")]).await;
        assert!(matches!(bob.until("the end", reason).await, Reason::Lost(_)));
        let (rows, next) = bob.rows(at, 1).await;
        assert_eq!(ids(&rows), [format!("{round}+")]);
        at = next;
    }
}

#[tokio::test]
async fn a_backend_stopped_and_started_again_is_found_again() {
    let mut server = Server::start();
    let mut ada = Rig::start(&server.url(), None);
    ada.subscribe(START);
    let epoch = ada.page().await.epoch;
    ada.push(&[document("a", "x")]).await;
    let (_, at) = ada.rows(START, 1).await;
    server.stop();
    assert!(matches!(ada.until("the end", reason).await, Reason::Lost(_)));
    assert!(matches!(ada.until("a failed attempt", reason).await, Reason::Unreachable(_)));
    server.start_again();
    ada.connected().await;
    let page = ada.page().await;
    assert_eq!((page.epoch, page.from, page.rows.len()), (epoch, at, 0));
    let mut bob = Rig::start(&server.url(), None);
    bob.connected().await;
    bob.push(&[document("b", "x")]).await;
    bob.subscribe(START);
    assert_eq!(ids(&bob.rows(START, 2).await.0), ["a", "b"]);
    assert_eq!(ids(&ada.rows(at, 1).await.0), ["b"]);
}

#[tokio::test]
async fn offline_closes_the_connection_at_once_and_online_catches_up() {
    let server = Server::start();
    let proxy = Proxy::to(server.address()).await;
    let mut ada = Rig::start(&proxy.url(), None);
    let mut bob = Rig::start(&server.url(), None);
    ada.subscribe(START);
    ada.page().await;
    bob.connected().await;
    ada.online(false);
    ada.online(false);
    assert_eq!(ada.until("being offline", reason).await, Reason::Asked);
    within("the close", proxy.until_open(0)).await;
    bob.push(&[document("a", "x")]).await;
    ada.request_push(&[document("b", "x")]);
    ada.until("a drop", dropped).await;
    ada.online(true);
    assert!(matches!(ada.next().await, Notice::Connecting { attempt: 1, reason: Some(Reason::Asked) }));
    assert_eq!(ids(&ada.rows(START, 1).await.0), ["a"]);
}

#[tokio::test]
async fn dropping_the_transport_closes_its_connection() {
    let server = Server::start();
    let proxy = Proxy::to(server.address()).await;
    let mut ada = Rig::start(&proxy.url(), None);
    ada.connected().await;
    within("an open connection", proxy.until_open(1)).await;
    drop(ada);
    within("the close", proxy.until_open(0)).await;
}

#[tokio::test]
async fn a_wrong_token_is_replaced_through_the_callback() {
    let server = Server::with_token("right");
    let (auth, asked) = tokens(vec![Ok(Some("wrong")), Ok(Some("right"))]);
    let mut ada = Rig::start(&server.url(), Some(auth));
    ada.subscribe(START);
    ada.page().await;
    ada.push(&[document("a", "x")]).await;
    assert_eq!(*asked.lock().unwrap(), [false, true]);
}

#[tokio::test]
async fn a_token_that_stays_wrong_is_told_and_tried_again_until_it_is_right() {
    let server = Server::with_token("right");
    let answers = [Ok(Some("wrong")); 4].into_iter().chain([Ok(Some("right"))]).collect();
    let (auth, asked) = tokens(answers);
    let mut ada = Rig::start(&server.url(), Some(auth));
    ada.subscribe(START);
    let mut told = 0;
    ada.until("a page", |notice| {
        told += usize::from(matches!(notice, Notice::Disconnected { reason: Reason::Unauthenticated(_), .. }));
        matches!(notice, Notice::Backend(FromBackend::Page(_))).then_some(())
    })
    .await;
    assert_eq!(told, 3, "all but the first, which the refreshed one might have mended");
    assert_eq!(*asked.lock().unwrap(), [false, true, true, true, true]);
}

#[tokio::test]
async fn no_token_where_one_is_asked_for_is_told() {
    let server = Server::with_token("right");
    let mut ada = Rig::start(&server.url(), None);
    ada.subscribe(START);
    let unauthenticated = |notice| reason(notice).filter(|reason| matches!(reason, Reason::Unauthenticated(_)));
    ada.until("a refusal", unauthenticated).await;

    let (auth, _) = tokens(vec![Ok(None), Ok(None), Ok(Some("right"))]);
    let mut bob = Rig::start(&server.url(), Some(auth));
    bob.subscribe(START);
    bob.page().await;
}

#[tokio::test]
async fn a_push_under_a_wrong_token_is_dropped_and_can_be_repeated() {
    let server = Server::with_token("right");
    let (auth, _) = tokens(vec![Ok(Some("wrong")), Ok(Some("wrong")), Ok(Some("right"))]);
    let mut ada = Rig::start(&server.url(), Some(auth));
    ada.connected().await;
    ada.request_push(&[document("a", "x")]);
    ada.until("a drop", dropped).await;
    ada.subscribe(START);
    ada.page().await;
    ada.push(&[document("a", "x")]).await;
}
