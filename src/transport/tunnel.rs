//! A way to a deployment that the official client does not know: below a path, or through a proxy.
//!
//! The client (convex 0.10) connects to the host of its URL itself, and always asks for `/api/sync`. So it is given the
//! URL of a port of this machine. A task waits there for one connection, asks for the right path, and passes on the
//! rest as it is. The port admits only the client: its request has a random number that no other program knows.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

use super::{
    endpoint::Endpoint,
    proxy::{self, Proxy},
};

/// How long the tunnel may take to reach the deployment: a TCP connection, an answer of the proxy, and TLS.
const REACH_TIMEOUT: Duration = Duration::from_secs(15);
/// The head of the client's request, and of the proxy's answer. Both are some hundred bytes.
const HEAD_BYTES: usize = 16 * 1024;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A tunnel for one connection. It ends when this is dropped.
pub(super) struct Tunnel {
    /// The URL for the client.
    pub(super) url: String,
    task: JoinHandle<()>,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Tunnel {
    /// Whether the client cannot reach the deployment by itself. An error says what is wrong with the proxy.
    pub(super) fn is_needed(endpoint: &Endpoint) -> Result<bool, String> {
        Ok(!endpoint.prefix.is_empty() || proxy_for(endpoint)?.is_some())
    }

    /// Opens a tunnel to the deployment, or `None` if the client can reach it by itself.
    pub(super) async fn open_if_needed(endpoint: &Endpoint) -> Result<Option<Self>, String> {
        let proxy = proxy_for(endpoint)?;
        if proxy.is_none() && endpoint.prefix.is_empty() {
            return Ok(None);
        }
        let there = match timeout(REACH_TIMEOUT, reach(endpoint, proxy.as_ref())).await {
            Ok(there) => there?,
            Err(_) => {
                return Err(format!("{}: no answer within {} seconds", endpoint.address, REACH_TIMEOUT.as_secs()));
            }
        };
        let problem = |error: io::Error| format!("no port of this machine can be used: {error}");
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(problem)?;
        let secret = format!("{:032x}", rand::random::<u128>());
        let url = format!("http://{}/?{secret}", listener.local_addr().map_err(problem)?);
        let endpoint = endpoint.clone();
        let task = tokio::spawn(async move {
            // The client notices the end of the connection, whatever ended it.
            if let Err(error) = pass_on(listener, there, &endpoint, &secret).await {
                tracing::debug!(target: "bevy_convex_replicate::transport", %error, "a tunnel ended");
            }
        });
        Ok(Some(Self { url, task }))
    }
}

/// The proxy for a deployment. Without TLS there is none: such deployments are on this machine or nearby.
fn proxy_for(endpoint: &Endpoint) -> Result<Option<Proxy>, String> {
    match endpoint.is_tls {
        true => proxy::for_host(&endpoint.host, endpoint.port, |name| std::env::var(name).ok()),
        false => Ok(None),
    }
}

/// Connects to the deployment, with TLS if its URL says so.
async fn reach(endpoint: &Endpoint, proxy: Option<&Proxy>) -> Result<Box<dyn Stream>, String> {
    let first = proxy.map_or(&endpoint.address, |proxy| &proxy.address);
    let mut stream = TcpStream::connect(first).await.map_err(|error| format!("{first}: {error}"))?;
    // If this fails, messages are only late.
    let _ = stream.set_nodelay(true);
    if let Some(proxy) = proxy {
        ask(&mut stream, &endpoint.address, proxy).await.map_err(|why| format!("the proxy {first}: {why}"))?;
    }
    if !endpoint.is_tls {
        return Ok(Box::new(stream));
    }
    let bad = |why: String| format!("{}: {why}", endpoint.address);
    // Reading the certificates of the system takes some milliseconds of disk.
    let connector = tokio::task::spawn_blocking(connector).await.map_err(|error| bad(error.to_string()))??;
    let name = ServerName::try_from(endpoint.host.trim_matches(['[', ']']).to_owned())
        .map_err(|error| bad(error.to_string()))?;
    let stream = connector.connect(name, stream).await.map_err(|error| bad(format!("no TLS connection: {error}")))?;
    Ok(Box::new(stream))
}

/// Trusts the authorities that the official client trusts.
fn connector() -> Result<TlsConnector, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (known, _) = roots.add_parsable_certificates(found.certs);
    if known == 0 {
        return Err(format!("this machine has no certificates of authorities ({:?})", found.errors));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Asks the proxy for a tunnel.
async fn ask(stream: &mut TcpStream, address: &str, proxy: &Proxy) -> Result<(), String> {
    let authorization = proxy.authorization.as_ref().map(|value| format!("Proxy-Authorization: {value}\r\n"));
    let request = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n{}\r\n", authorization.unwrap_or_default());
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let head = head(stream).await.map_err(|error| error.to_string())?;
    let line = head.lines().next().unwrap_or_default();
    match line.split(' ').nth(1) {
        Some(status) if status.starts_with('2') => Ok(()),
        Some("407") => {
            Err("it asks for a name and password: write them in HTTPS_PROXY (http://name:password@host:port)".into())
        }
        _ => Err(format!("it refused the tunnel ({line})")),
    }
}

/// Reads up to the empty line that ends a head, and no byte beyond it.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == HEAD_BYTES {
            return Err(io::Error::other("the head is too long"));
        }
        head.push(stream.read_u8().await?);
    }
    String::from_utf8(head).map_err(io::Error::other)
}

/// Waits for the client, and passes its connection on.
async fn pass_on(
    listener: TcpListener,
    mut there: Box<dyn Stream>,
    endpoint: &Endpoint,
    secret: &str,
) -> io::Result<()> {
    let (mut here, head) = loop {
        let (mut stream, _) = listener.accept().await?;
        // Another program may hold its connection without a word, so that this waits for the client at the most.
        match timeout(REACH_TIMEOUT, head(&mut stream)).await {
            Ok(Ok(head))
                if head.lines().next().is_some_and(|line| line.split(['?', ' ']).any(|word| word == secret)) =>
            {
                break (stream, head);
            }
            _ => {}
        }
    };
    let _ = here.set_nodelay(true);
    let headers =
        head.lines().skip(1).filter(|line| !line.is_empty() && !line.to_ascii_lowercase().starts_with("host:"));
    let mut request = format!("GET {}/api/sync HTTP/1.1\r\nHost: {}\r\n", endpoint.prefix, endpoint.authority);
    for header in headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    let passed = async {
        there.write_all(request.as_bytes()).await?;
        there.flush().await?;
        copy_bidirectional(&mut here, &mut there).await
    };
    if let Err(error) = passed.await {
        tracing::debug!(target: "bevy_convex_replicate::transport", %error, "a tunnel ended");
    }
    drop((here, there));
    // The client may connect again before it is dropped, and sends what it has not sent yet. So the port stays the
    // tunnel's for as long as the tunnel exists: another program that took it would be taken for the deployment.
    loop {
        drop(listener.accept().await?);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_port_of_a_tunnel_that_has_ended_is_nobody_elses() {
        let deployment = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/sync", deployment.local_addr().unwrap());
        let endpoint = Endpoint::parse(&endpoint).unwrap();
        let tunnel = Tunnel::open_if_needed(&endpoint).await.unwrap().expect("the path is not at the root");
        let (mut there, _) = deployment.accept().await.unwrap();
        let (address, secret) = tunnel.url.strip_prefix("http://").unwrap().split_once("/?").unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /?{secret} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        assert!(head(&mut there).await.unwrap().starts_with("GET /sync/api/sync HTTP/1.1\r\n"));
        drop(there);
        client.shutdown().await.unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert!(TcpListener::bind(address).await.is_err(), "another program can take the client's next connection");
        // A later connection is not passed on.
        let mut again = TcpStream::connect(address).await.unwrap();
        let _ = again.write_all(request.as_bytes()).await;
        // Whether it is closed or reset depends on what arrives first.
        assert!(matches!(again.read_to_end(&mut rest).await, Ok(0) | Err(_)));
    }
}
