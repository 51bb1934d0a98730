//! The store server's command line. All of it is in `bevy_iap::server::cli`, which exists with the feature `server`.

use std::process::ExitCode;

#[cfg(feature = "server")]
fn main() -> ExitCode {
    use std::io::IsTerminal as _;

    use tracing_subscriber::EnvFilter;

    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    ExitCode::from(bevy_iap::server::cli::run(std::env::args_os(), &mut out, &mut err))
}

#[cfg(not(feature = "server"))]
fn main() -> ExitCode {
    eprintln!("error: this iap-server was built without its server; build it with --features server");
    ExitCode::from(2)
}
