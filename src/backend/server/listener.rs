//! Incoming sockets: a limited number at once, and none that is idle for ever.

use std::{
    collections::{HashSet, VecDeque},
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
    time::{Instant, Sleep, sleep},
};

use super::{
    admission::{Doors, Party, Standing},
    tls::{Certificate, Wire},
};
use crate::backend::{
    limits::{ACCEPT_AGAIN, STRANGER_GRACE, WAITING_SOCKETS},
    metrics::{Metrics, Refused},
};

/// Listens, and gives each socket its place and its time limit.
pub(super) struct Sockets {
    listener: TcpListener,
    doors: Arc<Doors>,
    /// Sockets without a place. Nothing is read from them.
    waiting: VecDeque<(TcpStream, SocketAddr)>,
    patience: Duration,
    certificate: Option<Arc<Certificate>>,
    metrics: Arc<Metrics>,
}

impl Sockets {
    pub fn new(
        listener: TcpListener,
        doors: Arc<Doors>,
        patience: Duration,
        certificate: Option<Arc<Certificate>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { listener, doors, waiting: VecDeque::new(), patience, certificate, metrics }
    }

    /// The next socket that gets a place.
    fn admit(&mut self) -> Option<(Socket, SocketAddr)> {
        let now = Instant::now();
        let mut refused = HashSet::new();
        for index in 0..self.waiting.len() {
            let address = self.waiting[index].1;
            let party = Party::of(address.ip());
            if refused.contains(&party) {
                continue;
            }
            let Some(standing) = self.doors.admit(address, now) else {
                refused.insert(party);
                continue;
            };
            let (stream, _) = self.waiting.remove(index)?;
            return Some((self.socket(stream, standing, now), address));
        }
        None
    }

    fn socket(&self, stream: TcpStream, standing: Arc<Standing>, now: Instant) -> Socket {
        // Small answers must not wait to fill a packet. If this fails, they are only late.
        let _ = stream.set_nodelay(true);
        let wire = match &self.certificate {
            Some(certificate) => certificate.accept(stream),
            None => Wire::Plain(stream),
        };
        Socket {
            wire,
            patience: self.patience,
            written: now,
            deadline: Box::pin(sleep(self.patience)),
            stuck: None,
            write_deadline: Box::pin(sleep(self.patience)),
            standing,
            metrics: self.metrics.clone(),
        }
    }

    /// Closes a waiting socket: the newest of the address that has most of them.
    fn turn_one_away(&mut self) {
        let parties: Vec<Party> = self.waiting.iter().map(|(_, address)| Party::of(address.ip())).collect();
        let count = |party: &Party| parties.iter().filter(|other| *other == party).count();
        let worst = parties.iter().enumerate().max_by_key(|(_, party)| count(party)).map(|(index, _)| index);
        if let Some(index) = worst {
            self.waiting.remove(index);
            self.metrics.refused(Refused::NoPlace);
        }
    }
}

impl Listener for Sockets {
    type Io = Socket;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Socket, SocketAddr) {
        loop {
            if let Some(admitted) = self.admit() {
                return admitted;
            }
            let doors = self.doors.clone();
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = doors.left.notified(), if !self.waiting.is_empty() => continue,
                () = sleep(STRANGER_GRACE / 4), if !self.waiting.is_empty() => continue,
            };
            match accepted {
                Ok(accepted) => self.waiting.push_back(accepted),
                // A connection that was aborted is no reason to wait, but a lack of file handles is.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(target: "bevy_convex_replicate::backend", %error, "cannot accept a connection");
                    self.turn_one_away();
                    sleep(ACCEPT_AGAIN).await;
                }
            }
            if self.waiting.len() > WAITING_SOCKETS {
                self.turn_one_away();
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A socket that fails if nothing could be written to it for too long. So a request must be complete within that time
/// after the previous answer (or the start), even if it trickles in slowly, and an idle connection is closed. Pings are
/// written to a WebSocket all the time. A stranger's socket also fails when the time to show a token is over, whatever
/// was written, and when the stranger loses its place. A write that waits fails for the same reasons: while it waits,
/// the HTTP library need not read.
pub(super) struct Socket {
    wire: Wire,
    patience: Duration,
    written: Instant,
    deadline: Pin<Box<Sleep>>,
    /// Since when a write has been waiting.
    stuck: Option<Instant>,
    write_deadline: Pin<Box<Sleep>>,
    standing: Arc<Standing>,
    metrics: Arc<Metrics>,
}

impl Socket {
    /// The rights of the socket's client.
    pub fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }

    fn wrote(&mut self, result: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = result {
            self.written = Instant::now();
            self.standing.wrote(self.written);
            self.metrics.sent(bytes);
        }
        self.unless_stuck(result, context)
    }

    /// Fails if the other side has taken nothing for too long, or may not stay.
    fn unless_stuck<T>(&mut self, result: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stuck = None;
            return result;
        }
        if self.standing.is_evicted_in_writing(context.waker()) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let by_writes = *self.stuck.get_or_insert_with(Instant::now) + self.patience;
        let stranger = self.standing.until();
        let due = stranger.map_or(by_writes, |until| until.min(by_writes));
        if self.write_deadline.deadline() != due {
            self.write_deadline.as_mut().reset(due);
        }
        if self.write_deadline.as_mut().poll(context).is_ready() {
            self.metrics.refused(if stranger.is_some() { Refused::LateStranger } else { Refused::Silent });
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }

    /// Fails when the time is over.
    fn check_time(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.standing.is_evicted(context.waker()) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let by_writes = self.written + self.patience;
        let stranger = self.standing.until();
        let due = stranger.map_or(by_writes, |until| until.min(by_writes));
        if self.deadline.deadline() > due {
            self.deadline.as_mut().reset(due);
        }
        while self.deadline.as_mut().poll(context).is_ready() {
            if Instant::now() >= due {
                self.metrics.refused(if stranger.is_some() { Refused::LateStranger } else { Refused::Silent });
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.deadline.as_mut().reset(due);
        }
        Ok(())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.standing.leave();
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_time(context)?;
        if self.standing.is_over() {
            // The HTTP library reads a part of a body before the request's token is inspected. So a request waits for
            // the inspection, at most for a stranger's time.
            if self.standing.has_head() {
                return Poll::Pending;
            }
            self.metrics.refused(Refused::LargeStranger);
            return Poll::Ready(Err(io::Error::other("more than a stranger may send")));
        }
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.wire).poll_read(context, buffer);
        let bytes = &buffer.filled()[before..];
        self.metrics.received(bytes.len());
        if self.standing.take(bytes).is_err() {
            self.metrics.refused(Refused::Memory);
            return Poll::Ready(Err(io::Error::other("more than this connection may send at once")));
        }
        result
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.wire).poll_write(context, bytes);
        self.wrote(result, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.wire).poll_write_vectored(context, slices);
        self.wrote(result, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.wire).poll_flush(context);
        self.unless_stuck(result, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.wire).poll_shutdown(context);
        self.unless_stuck(result, context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_socket_that_is_only_read_from_fails_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Arc::new(Metrics::default());
        let patience = Duration::from_millis(20);
        let mut sockets = Sockets::new(listener, Doors::new(patience, metrics.clone()), patience, None, metrics);
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut socket, _) = sockets.accept().await;
        // As a member, the socket has no bound but the time.
        let _pass = socket.standing().enter().unwrap();
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

    #[tokio::test]
    async fn a_socket_whose_client_takes_nothing_fails_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Arc::new(Metrics::default());
        let patience = Duration::from_millis(20);
        let mut sockets = Sockets::new(listener, Doors::new(patience, metrics.clone()), patience, None, metrics);
        for is_member in [false, true] {
            let _client = TcpStream::connect(address).await.unwrap();
            let (mut socket, _) = sockets.accept().await;
            let _pass = is_member.then(|| socket.standing().enter().unwrap());
            // No task reads from this socket, as when the HTTP library has a request and waits to write its answer.
            let error = loop {
                if let Err(error) = socket.write_all(&[b'x'; 65_536]).await {
                    break error;
                }
            };
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "member: {is_member}");
        }
    }

    #[tokio::test]
    async fn a_stranger_who_takes_nothing_leaves_when_it_loses_its_place() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Arc::new(Metrics::default());
        let patience = Duration::from_secs(3_600);
        let mut sockets = Sockets::new(listener, Doors::new(patience, metrics.clone()), patience, None, metrics);
        let _client = TcpStream::connect(address).await.unwrap();
        let (mut socket, _) = sockets.accept().await;
        let standing = socket.standing().clone();
        let writing = tokio::spawn(async move {
            loop {
                if let Err(error) = socket.write_all(&[b'x'; 65_536]).await {
                    return error;
                }
            }
        });
        // Whether it waits already makes no difference.
        standing.evict();
        assert_eq!(writing.await.unwrap().kind(), io::ErrorKind::ConnectionAborted);
    }
}
