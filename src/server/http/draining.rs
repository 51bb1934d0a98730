//! A stream that does not wait for ever for its reader.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// A stream that fails when what was written is not all taken within a time. Whoever writes must flush when it has no
/// more to write, as hyper does after each answer.
#[derive(Debug)]
pub(super) struct Draining<S> {
    stream: S,
    limit: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Draining<S> {
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, deadline: None }
    }

    /// What a write came to: one that has to wait does so until the deadline, which a little progress does not move.
    fn by_the_deadline(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_pending() {
            let limit = self.limit;
            let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + limit)));
            ready!(deadline.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Draining<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Draining<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.by_the_deadline(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.by_the_deadline(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.deadline = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(test);
    }

    #[test]
    fn reader_that_takes_a_byte_now_and_then_is_given_up() {
        run(async {
            let (stream, mut reader) = duplex(4);
            let mut stream = Draining::new(stream, Duration::from_millis(100));
            let reading = async {
                for _ in 0..100 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    let _ = reader.read_u8().await;
                }
            };
            let writing = async { stream.write_all(&[7; 50]).await };
            let written = tokio::select! { written = writing => written, () = reading => Ok(()) };
            assert_eq!(written.expect_err("it takes too long").kind(), io::ErrorKind::TimedOut);
        });
    }

    #[test]
    fn each_answer_that_is_taken_has_its_own_time() {
        run(async {
            let (stream, mut reader) = duplex(4);
            let mut stream = Draining::new(stream, Duration::from_millis(200));
            let reading = async {
                loop {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    let _ = reader.read(&mut [0; 4]).await;
                }
            };
            let writing = async {
                for _ in 0..5 {
                    stream.write_all(&[7; 16]).await.expect("it is taken in time");
                    stream.flush().await.expect("flushes");
                }
            };
            tokio::select! { () = writing => {}, () = reading => {} }
        });
    }
}
