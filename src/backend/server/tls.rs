//! TLS by certificate and key files.

use std::{
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::watch,
    time::sleep,
};
use tokio_rustls::{
    Accept, TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
    server::TlsStream,
};

use crate::backend::{error::BackendError, limits::CERTIFICATE_EVERY};

/// A certificate from files, which are read again when they change.
pub(in crate::backend) struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    current: Mutex<Current>,
}

struct Current {
    acceptor: TlsAcceptor,
    /// The files as they were tried last, whether they could be used or not.
    tried: Files,
}

/// The contents of both files, or why they cannot be read.
#[derive(PartialEq, Eq)]
struct Files {
    chain: Result<Vec<u8>, String>,
    key: Result<Vec<u8>, String>,
}

impl Certificate {
    /// Reads the files.
    pub fn load(chain: PathBuf, key: PathBuf) -> Result<Self, BackendError> {
        let tried = Files::read(&chain, &key);
        let acceptor = tried.acceptor(&chain, &key)?;
        Ok(Self { chain, key, current: Mutex::new(Current { acceptor, tried }) })
    }

    /// Begins TLS on a socket. The handshake runs while the socket is read or written.
    pub(super) fn accept(&self, stream: TcpStream) -> Wire {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        Wire::Shaking(Box::pin(current.acceptor.accept(stream)))
    }

    /// Reads the files again. If they have changed and are valid, new sockets use them. If they are invalid, this is
    /// logged once, and the old ones stay in use.
    fn reload(&self) {
        let found = Files::read(&self.chain, &self.key);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if found == current.tried {
            return;
        }
        match found.acceptor(&self.chain, &self.key) {
            Ok(acceptor) => {
                current.acceptor = acceptor;
                tracing::info!(target: "bevy_convex_replicate::backend", "uses the new certificate");
            }
            Err(error) => {
                tracing::error!(target: "bevy_convex_replicate::backend", %error, "the old certificate stays in use");
            }
        }
        current.tried = found;
    }
}

/// Reads the files again and again until the backend stops.
pub(super) async fn keep_current(certificate: Arc<Certificate>, mut stopping: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = sleep(CERTIFICATE_EVERY) => {}
        }
        let certificate = certificate.clone();
        // Only a panic within fails, and then the old files stay in use.
        let _ = tokio::task::spawn_blocking(move || certificate.reload()).await;
    }
}

impl Files {
    fn read(chain: &Path, key: &Path) -> Self {
        let read = |path| std::fs::read(path).map_err(|error| error.to_string());
        Self { chain: read(chain), key: read(key) }
    }

    fn acceptor(&self, chain: &Path, key: &Path) -> Result<TlsAcceptor, BackendError> {
        let bad = |path: &Path, problem: String| BackendError::Tls { path: path.to_owned(), problem };
        let bytes = self.chain.as_ref().map_err(|error| bad(chain, error.clone()))?;
        let certificates = CertificateDer::pem_slice_iter(bytes)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| bad(chain, format!("it is no PEM file of certificates ({error})")))?;
        if certificates.is_empty() {
            return Err(bad(chain, "it has no certificate in PEM (-----BEGIN CERTIFICATE-----)".into()));
        }
        let bytes = self.key.as_ref().map_err(|error| bad(key, error.clone()))?;
        let private = PrivateKeyDer::from_pem_slice(bytes)
            .map_err(|_| bad(key, "it has no private key in PEM (-----BEGIN PRIVATE KEY-----)".into()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| bad(chain, error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(certificates, private)
            .map_err(|error| bad(key, format!("it does not fit the certificate in {} ({error})", chain.display())))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// A socket with or without TLS.
pub(super) enum Wire {
    Plain(TcpStream),
    Shaking(Pin<Box<Accept<TcpStream>>>),
    Tls(Box<TlsStream<TcpStream>>),
    /// The handshake failed.
    Failed,
}

impl Wire {
    /// Finishes the handshake.
    fn poll_shake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Self::Shaking(handshake) = self {
            match ready!(handshake.as_mut().poll(context)) {
                Ok(stream) => *self = Self::Tls(Box::new(stream)),
                Err(error) => {
                    *self = Self::Failed;
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    pub fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Shaking(_) | Self::Failed => false,
        }
    }
}

/// The handshake has failed, or is not over although [`Wire::poll_shake`] was ready.
fn broken<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_shake(context))?;
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Shaking(_) | Self::Failed => broken(),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_shake(context))?;
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Shaking(_) | Self::Failed => broken(),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_shake(context))?;
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Shaking(_) | Self::Failed => broken(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
            Self::Shaking(_) | Self::Failed => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Shaking(_) | Self::Failed => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_became_wrong_leave_the_old_ones_in_use() {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls");
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let put = |name: &str, path: &Path| assert!(std::fs::copy(from.join(name), path).unwrap() > 0);
        put("one.pem", &chain);
        put("one-key.pem", &key);
        let certificate = Certificate::load(chain.clone(), key.clone()).unwrap();
        let in_use = || certificate.current.lock().unwrap().acceptor.config().clone();
        let first = in_use();
        let is_first = || Arc::ptr_eq(&first, &in_use());
        certificate.reload();
        assert!(is_first(), "nothing has changed");
        std::fs::write(&chain, "nonsense").unwrap();
        certificate.reload();
        assert!(is_first());
        std::fs::remove_file(&chain).unwrap();
        certificate.reload();
        assert!(is_first());
        put("two.pem", &chain);
        certificate.reload();
        assert!(is_first(), "the key does not fit yet");
        put("two-key.pem", &key);
        certificate.reload();
        assert!(!is_first());
    }
}
