use std::{collections::BTreeMap, future::Future, pin::Pin, time::Duration};

use convex::{
    AuthenticationToken, ConvexClient, ConvexClientBuilder, FunctionResult, QueryResults, QuerySetSubscription,
    QuerySubscription, Value, WebSocketState,
};
use convex_sync_types::UdfPath;
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};

use super::{
    AuthToken, Token,
    endpoint::Endpoint,
    reconnect::End,
    session::{Mutation, Subscription},
    token::check_user,
    tunnel::Tunnel,
};
use crate::record::{Refusal, RefusalCode};

/// How long to wait for an address to answer. A lost packet is sent again three times within it.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the TLS and WebSocket handshakes may take once the address has answered.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a token callback may take. It may talk to an identity provider, but it may not wait for a person.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);
/// The client announces two states per connection and never waits for this code to take them.
const STATES: usize = 16;

/// A connection that is up: the official client, with the subscriptions and mutations that were requested.
///
/// The official client would reconnect and resend by itself, and continue without a token if it gets none. The session
/// makes these decisions instead. So this struct treats the first disconnection as final, and dropping it closes the
/// connection. The client sends nothing until then, because it waits for a token that never comes.
pub(super) struct OpenClient {
    client: ConvexClient,
    states: mpsc::Receiver<WebSocketState>,
    /// The client asks for a token again.
    again: mpsc::Receiver<()>,
    watch: QuerySetSubscription,
    /// The newest result of everything that is subscribed.
    results: QueryResults,
    /// The subscriptions that the session wants. `None` means that the client has not named the subscription yet.
    subscriptions: BTreeMap<Subscription, Option<QuerySubscription>>,
    work: FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send>>>,
    /// Whether the deployment was given a token.
    pub(super) token_sent: bool,
    /// The way that the client takes, if it cannot reach the deployment by itself.
    _tunnel: Option<Tunnel>,
}

/// An event of the connection.
pub(super) enum Told {
    /// An event without effect.
    Nothing,
    /// The connection ended.
    Ended(End),
    /// There are new results.
    Values,
    /// The subscription's function cannot be called.
    Refused(Subscription, Refusal),
    /// A mutation was answered, or cannot be called.
    Answered(Mutation, Result<FunctionResult, Refusal>),
}

/// The result of a call to the client.
enum Done {
    Subscribed(Subscription, QuerySubscription),
    Told(Told),
}

impl OpenClient {
    /// Reaches the deployment, gets a token and connects.
    pub(super) async fn establish(
        endpoint: Endpoint,
        auth: Option<AuthToken>,
        user: Option<String>,
        refresh: bool,
    ) -> Result<Self, End> {
        // A tunnel is opened after the token is there, because the deployment waits for the token only briefly.
        if !Tunnel::is_needed(&endpoint).map_err(End::BadUrl)? {
            probe(&endpoint.address).await.map_err(End::Unreachable)?;
        }
        let token = match auth {
            Some(auth) => token(auth, refresh).await.map_err(End::NoToken)?,
            None => None,
        };
        check_user(user.as_deref(), token.as_ref())?;
        let token = token.map(|token| token.token);
        let tunnel = Tunnel::open_if_needed(&endpoint).await.map_err(End::Unreachable)?;
        let url = tunnel.as_ref().map_or(&endpoint.url, |tunnel| &tunnel.url);
        let (state_sender, mut states) = mpsc::channel(STATES);
        let mut client = ConvexClientBuilder::new(url)
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
            subscriptions: BTreeMap::new(),
            work: FuturesUnordered::new(),
            token_sent,
            _tunnel: tunnel,
        })
    }

    /// Waits for the next event. The future may be dropped, and the function called again.
    pub(super) async fn next(&mut self) -> Told {
        tokio::select! {
            state = self.states.recv() => match state {
                Some(WebSocketState::Connected) => Told::Nothing,
                Some(WebSocketState::Connecting) | None => Told::Ended(End::Lost("the connection was closed".into())),
            },
            // A deployment that refuses a token need not close the connection. The client, which waits for another
            // token, would not close it either.
            Some(()) = self.again.recv() => Told::Ended(End::Lost("the connection was given up after the token was sent".into())),
            Some(done) = self.work.next(), if !self.work.is_empty() => self.done(done),
            results = self.watch.next() => match results {
                Some(results) => {
                    self.results = results;
                    Told::Values
                }
                None => Told::Ended(End::Lost("the client stopped".into())),
            },
        }
    }

    fn done(&mut self, done: Done) -> Told {
        match done {
            Done::Subscribed(name, subscription) => match self.subscriptions.get_mut(&name) {
                Some(place) => {
                    *place = Some(subscription);
                    // The result may have come before the subscription's name.
                    Told::Values
                }
                None => Told::Nothing,
            },
            Done::Told(told) => told,
        }
    }

    /// Opens a subscription. It is kept until [`OpenClient::unsubscribe`].
    pub(super) fn subscribe(&mut self, name: Subscription, function: String, arguments: BTreeMap<String, Value>) {
        self.subscriptions.insert(name, None);
        let mut client = self.client.clone();
        self.work.push(Box::pin(async move {
            if let Err(refusal) = check_name(&function) {
                return Done::Told(Told::Refused(name, refusal));
            }
            match client.subscribe(&function, arguments).await {
                Ok(subscription) => Done::Subscribed(name, subscription),
                // The task of the client is gone, which the end of its results reports as well.
                Err(_) => Done::Told(Told::Nothing),
            }
        }));
    }

    /// Closes a subscription.
    pub(super) fn unsubscribe(&mut self, name: Subscription) {
        self.subscriptions.remove(&name);
    }

    /// The newest results of all subscriptions that have one.
    pub(super) fn values(&self) -> Vec<(Subscription, &FunctionResult)> {
        let result = |(name, subscription): (&Subscription, &Option<QuerySubscription>)| {
            Some((*name, self.results.get(subscription.as_ref()?.id())?))
        };
        self.subscriptions.iter().filter_map(result).collect()
    }

    /// Calls a mutation. Ends in [`Told::Answered`].
    pub(super) fn mutate(&mut self, mutation: Mutation, function: String, arguments: BTreeMap<String, Value>) {
        let mut client = self.client.clone();
        self.work.push(Box::pin(async move {
            if let Err(refusal) = check_name(&function) {
                return Done::Told(Told::Answered(mutation, Err(refusal)));
            }
            Done::Told(match client.mutation(&function, arguments).await {
                Ok(result) => Told::Answered(mutation, Ok(result)),
                Err(_) => Told::Ended(End::Lost("the client stopped".into())),
            })
        }));
    }
}

/// Tests whether a server listens at the address. If not, the error has the operating system's words.
async fn probe(address: &str) -> Result<(), String> {
    match timeout(PROBE_TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("{address}: {error}")),
        Err(_) => Err(format!("{address}: no answer within {} seconds", PROBE_TIMEOUT.as_secs())),
    }
}

/// Waits until the client is connected. Returns false if it could not connect.
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

/// Gives the client this token when it asks for the first time. The client asks again when it connects again on its
/// own, and without a token it would send everything unauthenticated. So the second call never returns, and tells
/// `again`.
fn once(token: String, again: mpsc::Sender<()>) -> convex::AuthTokenFetcher {
    Box::new(move |is_again| {
        let (token, again) = (token.clone(), again.clone());
        Box::pin(async move {
            if is_again {
                // It does not matter if `again` was told before, or if the receiver is gone.
                let _ = again.try_send(());
                std::future::pending::<()>().await;
            }
            Ok(AuthenticationToken::User(token))
        })
    })
}

/// Calls the token callback in a task of its own, because the callback belongs to the app and may hang or panic.
async fn token(auth: AuthToken, refresh: bool) -> Result<Option<Token>, String> {
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

/// Refuses a name that the client's parser refuses, so that every later error of the client says that its task is gone.
/// The parser panics at a long name that is cut within a letter of several bytes.
fn check_name(function: &str) -> Result<(), Refusal> {
    if !function.is_ascii() {
        return Err(bad_name(function, &"it has letters outside of ASCII"));
    }
    function.parse::<UdfPath>().map(drop).map_err(|error| bad_name(function, &error))
}

fn bad_name(function: &str, error: &impl std::fmt::Display) -> Refusal {
    Refusal::new(
        RefusalCode::BadName,
        format!("`{function}` cannot be a function's name ({error}): rename the collection to letters, digits and `_`"),
    )
}
