//! A TCP proxy that can hold back answers and cut connections: a network that fails on request.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    sync::{Notify, watch},
};

/// Forwards connections to an address.
pub struct Proxy {
    address: SocketAddr,
    network: Arc<Network>,
}

struct Network {
    /// Increased to cut the open connections.
    cuts: watch::Sender<u64>,
    /// Whether the server's messages are held back from the client.
    mute: AtomicBool,
    open: AtomicUsize,
    changed: Notify,
}

impl Proxy {
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let network = Arc::new(Network {
            cuts: watch::Sender::new(0),
            mute: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            changed: Notify::new(),
        });
        let address = listener.local_addr().unwrap();
        let shared = network.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(shared.clone().serve(client, target));
            }
        });
        Self { address, network }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Holds back all later messages of the server from its clients, for as long as their connections last.
    pub fn mute(&self) {
        self.network.mute.store(true, SeqCst);
    }

    /// Closes all open connections. New connections work as before.
    pub fn cut(&self) {
        self.network.mute.store(false, SeqCst);
        self.network.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Waits until this many connections are open.
    pub async fn until_open(&self, count: usize) {
        self.until(|network| network.open.load(SeqCst) == count).await;
    }

    async fn until(&self, holds: impl Fn(&Network) -> bool) {
        loop {
            let changed = self.network.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if holds(&self.network) {
                return;
            }
            changed.await;
        }
    }
}

impl Network {
    async fn serve(self: Arc<Self>, client: TcpStream, target: SocketAddr) {
        let Ok(server) = TcpStream::connect(target).await else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        self.open.fetch_add(1, SeqCst);
        self.changed.notify_waiters();
        let mut cuts = self.cuts.subscribe();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            _ = cuts.changed() => {}
            () = self.forward(from_client, to_server, false) => {}
            () = self.forward(from_server, to_client, true) => {}
        }
        self.open.fetch_sub(1, SeqCst);
        self.changed.notify_waiters();
    }

    async fn forward(&self, mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, is_reply: bool) {
        let mut bytes = vec![0; 64 * 1024];
        let mut is_mute = false;
        while let Ok(read @ 1..) = from.read(&mut bytes).await {
            if is_reply {
                is_mute |= self.mute.load(SeqCst);
                if is_mute {
                    continue;
                }
            }
            if to.write_all(&bytes[..read]).await.is_err() {
                return;
            }
        }
    }
}
