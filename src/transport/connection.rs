use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use convex::{
    AuthenticationToken, ConvexClient, ConvexClientBuilder, FunctionResult, QueryResults, QuerySetSubscription,
    QuerySubscription, Value, WebSocketState,
};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{sync::mpsc, time::timeout};

use super::{AuthToken, endpoint::Endpoint, follow::Key, reconnect::End};
use crate::{
    CollectionIndex,
    record::{Refusal, RefusalCode},
    wire::{self, Function, FunctionName},
};

/// How long the TLS and WebSocket handshakes may take once the address has answered.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a token callback may take: it may talk to an identity provider, but not wait for a person.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a deployment may take over a mutation: longer than Convex lets any run.
const MUTATION_TIMEOUT: Duration = Duration::from_secs(60);
/// The client announces two states per connection and never waits for us to take them.
const STATES: usize = 16;

/// A connection that is up: the official client, and what was asked of it.
///
/// The client connects again on its own, sends again what was in flight, and goes on without a token where it cannot have one. None of it is
/// wanted: the first end is the end, and dropping this is what closes it. Nothing is sent meanwhile, for the token that the
/// client needs first never comes.
pub(super) struct Connection {
    client: ConvexClient,
    states: mpsc::Receiver<WebSocketState>,
    /// The client asks for a token again.
    again: mpsc::Receiver<()>,
    watch: QuerySetSubscription,
    /// The newest result of everything that is subscribed.
    pub(super) results: QueryResults,
    subscriptions: HashMap<(CollectionIndex, Key), QuerySubscription>,
    counts: Vec<(CollectionIndex, QuerySubscription)>,
    work: FuturesUnordered<Pin<Box<dyn Future<Output = Happening> + Send>>>,
    /// Whether it was given a token.
    pub(super) token_sent: bool,
    /// Since when it is up.
    pub(super) since: Instant,
}

/// What a connection tells of.
pub(super) enum Happening {
    /// It ended.
    Ended(End),
    /// There are new results.
    Results,
    /// A collection's subscription is open, or its name is none.
    Subscribed(CollectionIndex, Key, Result<QuerySubscription, Refusal>),
    /// A count is asked for.
    Counting(CollectionIndex, QuerySubscription),
    /// It does not matter.
    Nothing,
    /// The mutation in flight was answered, or could not be called.
    Mutated(Result<FunctionResult, Refusal>),
}

impl Connection {
    /// Reaches the deployment, gets a token and connects.
    pub(super) async fn establish(endpoint: Endpoint, auth: Option<AuthToken>, refresh: bool) -> Result<Self, End> {
        endpoint.probe().await.map_err(End::Unreachable)?;
        let token = match auth {
            Some(auth) => token(auth, refresh).await.map_err(End::NoToken)?,
            None => None,
        };
        let (state_sender, mut states) = mpsc::channel(STATES);
        let mut client = ConvexClientBuilder::new(&endpoint.url)
            .with_client_id(concat!("bevy_convex_replicate-", env!("CARGO_PKG_VERSION")))
            .with_on_state_change(state_sender)
            .build()
            .await
            .map_err(|error| End::BadUrl(format!("`{}`: {error}", endpoint.url)))?;
        let watch = client.watch_all();
        match timeout(HANDSHAKE_TIMEOUT, handshake(&mut states)).await {
            Ok(true) => {}
            Ok(false) => {
                return Err(End::Unreachable(format!(
                    "{}: something listens there, but it is no Convex deployment, or its certificate is not trusted",
                    endpoint.url
                )));
            }
            Err(_) => {
                return Err(End::Unreachable(format!(
                    "{}: no WebSocket within {} seconds",
                    endpoint.url,
                    HANDSHAKE_TIMEOUT.as_secs()
                )));
            }
        }
        let token_sent = token.is_some();
        let (ask, again) = mpsc::channel(1);
        if let Some(token) = token {
            client.set_auth_callback(Some(once(token, ask))).await;
        }
        Ok(Self {
            client,
            states,
            again,
            watch,
            results: QueryResults::default(),
            subscriptions: HashMap::new(),
            counts: Vec::new(),
            work: FuturesUnordered::new(),
            token_sent,
            since: Instant::now(),
        })
    }

    /// Waits for the next thing to happen. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Happening {
        tokio::select! {
            state = self.states.recv() => match state {
                Some(WebSocketState::Connected) => Happening::Nothing,
                Some(WebSocketState::Connecting) | None => Happening::Ended(End::Lost("the connection was closed".into())),
            },
            // A deployment that refuses a token need not close the connection, and the client, which waits for another, would not.
            Some(()) = self.again.recv() => Happening::Ended(End::Lost("the connection was given up after the token was sent".into())),
            Some(happening) = self.work.next(), if !self.work.is_empty() => self.note(happening),
            results = self.watch.next() => match results {
                Some(results) => {
                    self.results = results;
                    Happening::Results
                }
                None => Happening::Ended(End::Lost("the client stopped".into())),
            },
        }
    }

    fn note(&mut self, happening: Happening) -> Happening {
        match happening {
            Happening::Counting(collection, subscription) => {
                self.counts.push((collection, subscription));
                // Its result may have come before its name.
                Happening::Results
            }
            other => other,
        }
    }

    /// Opens a subscription to a collection's log. Ends in [`Happening::Subscribed`].
    pub(super) fn subscribe(
        &mut self,
        collection: CollectionIndex,
        key: Key,
        function: String,
        arguments: BTreeMap<String, Value>,
    ) {
        let mut client = self.client.clone();
        self.work.push(Box::pin(async move {
            if let Err(refusal) = check_name(&function) {
                return Happening::Subscribed(collection, key, Err(refusal));
            }
            match client.subscribe(&function, arguments).await {
                Ok(subscription) => Happening::Subscribed(collection, key, Ok(subscription)),
                Err(error) if is_gone(&error) => Happening::Nothing,
                Err(error) => Happening::Subscribed(collection, key, Err(bad_name(&function, &error))),
            }
        }));
    }

    /// Keeps an open subscription until [`Connection::close`].
    pub(super) fn keep(&mut self, collection: CollectionIndex, key: Key, subscription: QuerySubscription) {
        self.subscriptions.insert((collection, key), subscription);
    }

    /// Closes a subscription.
    pub(super) fn close(&mut self, collection: CollectionIndex, key: Key) {
        self.subscriptions.remove(&(collection, key));
    }

    /// The newest result of a subscription.
    pub(super) fn result(&self, collection: CollectionIndex, key: Key) -> Option<&FunctionResult> {
        self.results.get(self.subscriptions.get(&(collection, key))?.id())
    }

    /// Asks once how many documents a collection has; a deployment that does not say is as good.
    pub(super) fn count(&mut self, collection: CollectionIndex, name: &str) {
        let mut client = self.client.clone();
        let function = Function { module: name, name: FunctionName::ChangeStream }.to_string();
        let arguments = wire::count_arguments(name);
        if check_name(&function).is_err() {
            return;
        }
        self.work.push(Box::pin(async move {
            match client.subscribe(&function, arguments).await {
                Ok(subscription) => Happening::Counting(collection, subscription),
                Err(_) => Happening::Nothing,
            }
        }));
    }

    /// Takes the counts that have arrived.
    pub(super) fn take_counts(&mut self) -> Vec<(CollectionIndex, u64)> {
        let mut arrived = Vec::new();
        self.counts.retain(|(collection, subscription)| match self.results.get(subscription.id()) {
            None => true,
            Some(FunctionResult::Value(value)) => {
                arrived.extend(wire::document_count(value).map(|count| (*collection, count)));
                false
            }
            Some(_) => false,
        });
        arrived
    }

    /// Calls a mutation. Ends in [`Happening::Mutated`].
    pub(super) fn mutate(&mut self, function: String, arguments: BTreeMap<String, Value>) {
        let mut client = self.client.clone();
        self.work.push(Box::pin(async move {
            if let Err(refusal) = check_name(&function) {
                return Happening::Mutated(Err(refusal));
            }
            match timeout(MUTATION_TIMEOUT, client.mutation(&function, arguments)).await {
                Ok(Ok(result)) => Happening::Mutated(Ok(result)),
                Ok(Err(error)) if is_gone(&error) => Happening::Ended(End::Lost("the client stopped".into())),
                Ok(Err(error)) => Happening::Mutated(Err(bad_name(&function, &error))),
                Err(_) => Happening::Ended(End::Lost(format!(
                    "`{function}` was not answered within {} seconds",
                    MUTATION_TIMEOUT.as_secs()
                ))),
            }
        }));
    }
}

/// Waits until the client is connected; false if it could not.
async fn handshake(states: &mut mpsc::Receiver<WebSocketState>) -> bool {
    let mut tried = false;
    while let Some(state) = states.recv().await {
        match state {
            WebSocketState::Connected => return true,
            WebSocketState::Connecting if tried => return false,
            WebSocketState::Connecting => tried = true,
        }
    }
    false
}

/// Gives the client this token when it asks first. It asks again when it connects again on its own, and sends everything without a token if it is
/// given none; so it is left waiting until it is dropped, and `again` is told.
fn once(token: String, again: mpsc::Sender<()>) -> convex::AuthTokenFetcher {
    Box::new(move |is_again| {
        let (token, again) = (token.clone(), again.clone());
        Box::pin(async move {
            if is_again {
                // Told before, or nobody listens: either is as good.
                let _ = again.try_send(());
                std::future::pending::<()>().await;
            }
            Ok(AuthenticationToken::User(token))
        })
    })
}

/// Asks the callback, in a task of its own: it is the app's, and may hang or panic.
async fn token(auth: AuthToken, refresh: bool) -> Result<Option<String>, String> {
    let asked = tokio::spawn(async move { auth(refresh).await });
    let abort = asked.abort_handle();
    match timeout(TOKEN_TIMEOUT, asked).await {
        Ok(Ok(token)) => token,
        Ok(Err(_)) => Err("the token callback panicked".into()),
        Err(_) => {
            abort.abort();
            Err(format!("the token callback gave no token within {} seconds", TOKEN_TIMEOUT.as_secs()))
        }
    }
}

/// Whether the client's own task is gone, which the end of its results tells as well.
fn is_gone(error: &impl std::fmt::Display) -> bool {
    error.to_string() == "channel closed"
}

/// The client's parser panics at a long name that is cut within a letter.
fn check_name(function: &str) -> Result<(), Refusal> {
    if function.is_ascii() { Ok(()) } else { Err(bad_name(function, &"it has letters outside of ASCII")) }
}

fn bad_name(function: &str, error: &impl std::fmt::Display) -> Refusal {
    Refusal::new(
        RefusalCode::BadName,
        format!("`{function}` cannot be a function's name ({error}): rename the collection to letters, digits and `_`"),
    )
}
