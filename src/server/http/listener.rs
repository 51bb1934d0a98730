//! Accepting connections: no more than there is room for, none for longer than it takes to send a request.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;

use crate::server::Limits;

/// How long to wait when the operating system has no more connections to give.
const BREATH: Duration = Duration::from_millis(100);

/// Serves connections until `stop` says so, or whoever could say it is gone; then finishes what was begun.
pub(crate) async fn serve(listener: TcpListener, router: Router, limits: Limits, mut stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = accept(&listener, &room) => match accepted {
                Ok((stream, permit)) => {
                    connections.spawn(connection(stream, permit, router.clone(), limits.time, stop.clone()));
                }
                Err(error) => {
                    tracing::warn!("a connection could not be accepted: `{error}`");
                    tokio::time::sleep(BREATH).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.time, finished).await.is_err() {
        tracing::debug!("`{}` connections did not finish in time", connections.len());
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error says that whoever could say so is gone.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

async fn connection(
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
    router: Router,
    time: Duration,
    mut stop: watch::Receiver<bool>,
) {
    // An answer is one write; waiting for more to send with it only delays it.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("a connection was lost: `{error}`");
        return;
    }
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(time);
    // Whoever asks and does not read the answers holds a connection that others wait for.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(time));
    let stream = TokioIo::new(Box::pin(stream));
    let mut connection = pin!(builder.serve_connection(stream, TowerToHyperService::new(router)));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!("a connection ended early: `{error}`");
    }
}
