//! A connection on which one request follows another, until it is cut.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use bevy_iap::protocol::Token;

use crate::random::Random;
use crate::support::{Answer, whole_answer};

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Connection {
    server: SocketAddr,
    stream: Option<TcpStream>,
}

impl Connection {
    pub fn new(server: SocketAddr) -> Self {
        Self { server, stream: None }
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, path: &str, content_type: &str, body: &[u8]) -> Answer {
        let stream = self.write(path, content_type, body);
        let (mut bytes, mut chunk) = (Vec::new(), vec![0; 65_536]);
        loop {
            let count = stream.read(&mut chunk).expect("the server answers in time");
            assert_ne!(count, 0, "the server closed a connection on which it was asked");
            bytes.extend_from_slice(&chunk[..count]);
            if let Some(answer) = whole_answer(&bytes) {
                return answer;
            }
        }
    }

    pub fn sync(&mut self, request: &Token) -> Answer {
        self.ask("/v1/sync", "application/jose", request.as_str().as_bytes())
    }

    /// Sends a request and cuts the connection at once, a little later, or in the middle of the answer. Says whether
    /// some of the answer was there.
    pub fn sync_and_cut(&mut self, request: &Token, random: &mut Random) -> bool {
        let stream = self.write("/v1/sync", "application/jose", request.as_str().as_bytes());
        let begun = match random.below(3) {
            0 => false,
            1 => {
                thread::sleep(random.microseconds(20_000));
                false
            }
            _ => {
                let mut some = vec![0; random.up_to(400)];
                stream.read(&mut some).expect("the server answers in time") > 0
            }
        };
        self.stream = None;
        begun
    }

    fn write(&mut self, path: &str, content_type: &str, body: &[u8]) -> &mut TcpStream {
        let server = self.server;
        let stream = self.stream.get_or_insert_with(|| {
            let stream = TcpStream::connect(server).expect("connects");
            stream.set_nodelay(true).expect("set");
            stream.set_read_timeout(Some(PATIENCE)).expect("set");
            stream
        });
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), body].concat()).expect("the server listens");
        stream
    }
}
