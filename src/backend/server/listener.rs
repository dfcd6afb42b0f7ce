//! Incoming sockets: a limited number at once, and none that is idle for ever.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};

use crate::backend::limits::{ACCEPT_AGAIN, SOCKETS};

/// Listens, and gives each socket its time limit.
pub(super) struct Sockets {
    listener: TcpListener,
    places: Arc<Semaphore>,
    patience: Duration,
}

impl Sockets {
    pub fn new(listener: TcpListener, patience: Duration) -> Self {
        Self::with_places(listener, patience, SOCKETS)
    }

    fn with_places(listener: TcpListener, patience: Duration, places: usize) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(places)), patience }
    }
}

impl Listener for Sockets {
    type Io = Socket;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Socket, SocketAddr) {
        loop {
            let (stream, address) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // A connection that was aborted is no reason to wait, but a lack of file handles is.
                    if error.kind() != io::ErrorKind::ConnectionAborted {
                        tracing::warn!(target: "bevy_convex_replicate::backend", %error, "cannot accept a connection");
                        sleep(ACCEPT_AGAIN).await;
                    }
                    continue;
                }
            };
            // The socket is closed at once if there is no place.
            let Ok(place) = self.places.clone().try_acquire_owned() else { continue };
            // Small answers must not wait to fill a packet. If this fails, they are only late.
            let _ = stream.set_nodelay(true);
            let deadline = Box::pin(sleep(self.patience));
            return (Socket { stream, patience: self.patience, deadline, _place: place }, address);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A socket that fails if nothing could be written to it for too long. So a request must be complete within that time
/// after the previous answer (or the start), even if it trickles in slowly, and an idle connection is closed. Pings are
/// written to a WebSocket all the time.
pub(super) struct Socket {
    stream: TcpStream,
    patience: Duration,
    deadline: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Socket {
    fn written<T>(&mut self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(result, Poll::Ready(Ok(_))) {
            let deadline = Instant::now() + self.patience;
            self.deadline.as_mut().reset(deadline);
        }
        result
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_comes_beyond_the_places_is_closed_and_a_place_is_free_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut sockets = Sockets::with_places(listener, Duration::from_secs(600), 1);
        let _client = TcpStream::connect(address).await.unwrap();
        let (first, _) = sockets.accept().await;
        let mut beyond = TcpStream::connect(address).await.unwrap();
        tokio::select! {
            read = beyond.read_u8() => assert!(read.is_err(), "it is closed"),
            _ = sockets.accept() => panic!("there was no place"),
        }
        drop(first);
        let _client = TcpStream::connect(address).await.unwrap();
        sockets.accept().await;
    }

    #[tokio::test]
    async fn a_socket_that_is_only_read_from_fails_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut sockets = Sockets::new(listener, Duration::from_millis(20));
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut socket, _) = sockets.accept().await;
        // More bytes keep arriving, which must not prevent the failure.
        let trickling = tokio::spawn(async move {
            while tokio::io::AsyncWriteExt::write_u8(&mut client, b'x').await.is_ok() {
                tokio::task::yield_now().await;
            }
        });
        let error = loop {
            if let Err(error) = socket.read_u8().await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(socket);
        trickling.await.unwrap();
    }
}
