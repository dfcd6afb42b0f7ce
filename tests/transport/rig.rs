//! Shared parts of the transport's tests.

use std::{
    collections::VecDeque,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bevy_convex_replicate::{
    backend::{Backend, BackendConfig},
    replica::Page,
    transport::{AuthToken, Notice, Request, Token, Transport, TransportConfig},
};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::host::{self, Host};

/// Long enough for a machine under heavy load. A failing test waits this long.
const DEADLINE: Duration = Duration::from_secs(60);

/// A transport and its notices.
pub struct Rig {
    pub transport: Transport,
    pub notices: mpsc::Receiver<Notice>,
    /// Pages that arrived while the test waited for an answer.
    pub pages: VecDeque<Page>,
}

impl Rig {
    pub fn start(url: &str, auth: Option<AuthToken>) -> Self {
        Self::with_collections(url, auth, &["tasks"])
    }

    pub fn with_collections(url: &str, auth: Option<AuthToken>, collections: &[&str]) -> Self {
        let collections = collections.iter().map(|name| (*name).to_owned()).collect();
        let (transport, notices) = Transport::start(TransportConfig {
            url: url.into(),
            auth,
            user: None,
            collections,
            seed: 7,
            session: "0123456789abcdef".into(),
        });
        Self { transport, notices, pages: VecDeque::new() }
    }

    /// The next notice.
    pub async fn next(&mut self) -> Notice {
        within("a notice", self.notices.recv()).await.expect("the transport goes on")
    }

    /// The first result of `pick`. Earlier notices are dropped.
    pub async fn until<T>(&mut self, what: &str, mut pick: impl FnMut(Notice) -> Option<T>) -> T {
        within(what, async {
            loop {
                let notice = self.notices.recv().await.expect("the transport goes on");
                if let Some(found) = pick(notice) {
                    return found;
                }
            }
        })
        .await
    }

    pub fn online(&self, online: bool) {
        self.transport.request(Request::Online(online));
    }
}

/// A backend with its data in its own folder, or `convex/host`, which stores nothing.
pub struct Server {
    backend: Option<Running>,
    data: TempDir,
    address: SocketAddr,
    token: Option<String>,
}

enum Running {
    Embedded(Backend),
    Convex(Host),
}

impl Server {
    /// The embedded backend.
    pub fn start() -> Self {
        Self::launch(None)
    }

    /// The backend that the tests run against, with these collections.
    pub fn of_choice(collections: &[&str]) -> Self {
        if !host::is_wanted() {
            return Self::start();
        }
        let host = Host::start(0, collections, &[]);
        let (address, data) = (host.address(), tempfile::tempdir().unwrap());
        Self { backend: Some(Running::Convex(host)), data, address, token: None }
    }

    pub fn with_token(token: &str) -> Self {
        Self::launch(Some(token.into()))
    }

    fn launch(token: Option<String>) -> Self {
        let data = tempfile::tempdir().unwrap();
        let address = "127.0.0.1:0".parse().unwrap();
        let mut server = Self { backend: None, data, address, token };
        server.start_again();
        server
    }

    /// Starts the backend again with the same address and the same data.
    pub fn start_again(&mut self) {
        let mut config = BackendConfig::new().listen(self.address.to_string()).data(self.data.path());
        if let Some(token) = &self.token {
            config = config.token(token.as_str());
        }
        let backend = Backend::start(config).unwrap();
        self.address = backend.address();
        self.backend = Some(Running::Embedded(backend));
    }

    pub fn stop(&mut self) {
        match self.backend.take().expect("it runs") {
            Running::Embedded(backend) => backend.stop(),
            Running::Convex(host) => drop(host),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Waits for a future with a deadline.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("timed out waiting for {what}"))
}

/// A token callback that returns these tokens in order, then the last one again and again, and records its arguments.
pub fn tokens(answers: Vec<Result<Option<&str>, &str>>) -> (AuthToken, Arc<Mutex<Vec<bool>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let answers: Vec<Result<Option<Token>, String>> =
        answers.into_iter().map(|answer| answer.map(|token| token.map(Into::into)).map_err(Into::into)).collect();
    let noted = asked.clone();
    let auth: AuthToken = Arc::new(move |refresh| {
        let mut asked = noted.lock().unwrap();
        let answer = answers[asked.len().min(answers.len() - 1)].clone();
        asked.push(refresh);
        Box::pin(async move { answer }) as Pin<Box<dyn Future<Output = _> + Send>>
    });
    (auth, asked)
}
