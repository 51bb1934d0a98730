//! `iap-server serve`.

use std::io::Write;
use std::path::Path;

use clap::ArgMatches;

use super::settings::{Settings, SettingsError};
use super::{Outcome, SUCCESS, ServeArguments};
use crate::protocol::Catalog;
use crate::server::{DEFAULT_ADDRESS, Database, Server, ServerConfig, ServerError};

/// Files that are open besides the connections: the books, the listener, the runtime's own.
const OTHER_FILES: u64 = 64;

pub(super) fn serve(arguments: ServeArguments, matches: Option<&ArgMatches>, out: &mut dyn Write) -> Outcome {
    let matches = matches.cloned().unwrap_or_default();
    let settings = Settings::read(arguments.flags, arguments.config.as_deref(), &matches)?;
    if arguments.print_config {
        write!(out, "{}", settings.shown())?;
        return Ok(SUCCESS);
    }
    let (limits, allowances, accounts) = (settings.limits(), settings.allowances(), settings.accounts());
    let login = settings.login()?;
    let catalog = settings.catalog.ok_or(SettingsError::Missing("catalog"))?;
    let data = settings.data.ok_or(SettingsError::Missing("data"))?;
    let mut config = ServerConfig::new(data, read_catalog(&catalog)?);
    config.database = settings.database.map_or(Ok(Database::default()), |url| url.0.parse())?;
    config.listen = settings.listen.unwrap_or(DEFAULT_ADDRESS);
    config.welcome = settings.welcome;
    config.admin_token = settings.admin_token.map(|token| token.0);
    config.trusted_proxies = settings.trust_proxy.map_or(Vec::new(), |networks| networks.0);
    config.allowed_origins = settings.allow_origin.unwrap_or_default();
    config.limits = limits;
    config.allowances = allowances;
    config.accounts = accounts;
    config.login = login;
    config.limits.connections = connections_with_files_for_them(limits.connections);
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

/// How many connections there are open files for, at most as many as are wished for. Raises the limit of open files as
/// far as this process may.
fn connections_with_files_for_them(wished: usize) -> usize {
    let needed = u64::try_from(wished).unwrap_or(u64::MAX).saturating_add(OTHER_FILES);
    // Not more than is needed: some programs go through all that they may open.
    let allowed = match rlimit::increase_nofile_limit(needed) {
        Ok(allowed) => allowed,
        Err(error) => {
            tracing::warn!("the limit of open files could not be read or raised: `{error}`");
            return wished;
        }
    };
    tracing::info!("`{allowed}` files may be open");
    if allowed >= needed {
        return wished;
    }
    let possible = usize::try_from(allowed.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX).max(1);
    tracing::warn!(
        "that is enough for `{possible}` connections of the `{wished}` that are set; raise it with `ulimit -n`"
    );
    possible
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
