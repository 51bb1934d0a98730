//! Accepting connections: no more than there is room for, none for longer than it takes to send a request.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::Method;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::App;
use super::caller::Peer;
use super::draining::Draining;
use super::room::{Room, Seat};

/// How long to wait when the operating system has no more connections to give.
const BREATH: Duration = Duration::from_millis(100);
/// The largest head of a request, and how much of a body is read at once.
const BUFFER: usize = 16 * 1024;

/// How many connections may wait until they are accepted, if the operating system allows it. Clients that find no room
/// here try again after a second, so it must hold all that come in the time in which none is accepted.
const BACKLOG: u32 = 4_096;

/// Listens at an address.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // So that a server can start again where one has just stopped. On Windows it would mean to share the address.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves connections until `stop` says so, or whoever could say it is gone; then finishes what was begun.
pub(crate) async fn serve(listener: TcpListener, router: Router, app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let room = Room::new(app.limits, app.callers.clone(), Arc::clone(&app.metrics));
    let mut connections = JoinSet::new();
    let stopping = stop.clone();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            () = accept(&listener, &room, &router, &mut connections, &stopping) => {}
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(app.limits.time, finished).await.is_err() {
        tracing::debug!("`{}` connections did not finish in time", connections.len());
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error says that whoever could say so is gone.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Room>,
    router: &Router,
    connections: &mut JoinSet<()>,
    stop: &watch::Receiver<bool>,
) {
    match listener.accept().await {
        Ok((stream, peer)) => {
            if let Some(seat) = room.enter(peer.ip()).await {
                connections.spawn(connection(stream, Peer(peer.ip()), Arc::new(seat), router.clone(), stop.clone()));
            }
        }
        Err(error) => {
            tracing::warn!("a connection could not be accepted: `{error}`; see the limit of open files");
            tokio::time::sleep(BREATH).await;
        }
    }
}

async fn connection(stream: TcpStream, peer: Peer, seat: Arc<Seat>, router: Router, mut stop: watch::Receiver<bool>) {
    // An answer is one write; waiting for more to send with it only delays it.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("a connection was lost: `{error}`");
        return;
    }
    let time = seat.time();
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(time).max_buf_size(BUFFER);
    let stream = TokioIo::new(Draining::new(stream, time));
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(axum::body::Body::new);
        match request.method() {
            // There is no body to wait for.
            &Method::GET | &Method::HEAD | &Method::OPTIONS => seat.works(),
            _ => seat.waits(),
        }
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(Arc::clone(&seat));
        let answered = router.call(request);
        let seat = Arc::clone(&seat);
        async move {
            let answer = answered.await;
            seat.waits();
            answer
        }
    });
    let mut connection = pin!(builder.serve_connection(stream, service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = seat.is_needed() => return,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!("a connection ended early: `{error}`");
    }
}
