//! `iap-server serve`.

use std::io::Write;
use std::path::Path;

use super::{Outcome, SUCCESS, ServeArguments};
use crate::protocol::Catalog;
use crate::server::{Server, ServerConfig, ServerError};

pub(super) fn serve(arguments: ServeArguments, out: &mut dyn Write) -> Outcome {
    let mut config = ServerConfig::new(arguments.data, read_catalog(&arguments.catalog)?);
    config.database = arguments.database.parsed()?;
    config.listen = arguments.listen;
    config.welcome = arguments.welcome;
    config.admin_token = arguments.admin_token;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(ServerError::Threads)?;
    runtime.block_on(async {
        // Before the server starts, so that no signal is missed.
        let stopped = Signals::listen()?;
        let server = Server::start(config).await?;
        let (url, key) = (server.url(), server.public_key());
        writeln!(out, "url         {url}")?;
        writeln!(out, "public key  {key}")?;
        writeln!(out, "\nPaste into the game:\n\n    ServerAddress::new(\"{url}\", \"{key}\")\n")?;
        out.flush()?;
        stopped.wait().await;
        server.stop().await;
        writeln!(out, "stopped")?;
        Ok(SUCCESS)
    })
}

/// Reads a catalogue file.
pub(super) fn read_catalog(path: &Path) -> Result<Catalog, Box<dyn std::error::Error>> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("the catalogue `{name}` cannot be read: {error}; pass a RON file"))?;
    Ok(Catalog::parse(&name, &text)?)
}

/// The signals that stop a server.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn wait(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {})
    }

    async fn wait(self) {
        // An error says that Ctrl-C cannot be heard; the server then runs until it is ended.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
