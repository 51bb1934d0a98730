//! Where a PostgreSQL database is, and how the way to it is protected.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// How long one attempt to connect to one host may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How long the network may swallow what was sent before the connection counts as lost.
const SILENCE: Duration = Duration::from_secs(5);

/// The URL of a PostgreSQL database, `postgres://USER:PASSWORD@HOST:PORT/DATABASE`. Its password is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(pub(super) Box<Config>);

/// Why a text is no URL of a database that can be used. It never repeats the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PostgresUrlError {
    /// It does not read as a URL of PostgreSQL.
    #[error(
        "this is no URL of a PostgreSQL database; write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with % escapes \
         for anything but letters and digits in the password"
    )]
    Unreadable,
    /// The name of the host is missing.
    #[error("the URL of the database names no host; write postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    NoHost,
    /// The value of `sslmode` is none that PostgreSQL knows.
    #[error("the database's sslmode is none; write sslmode=disable, or leave it out for a database on this computer")]
    UnknownMode,
    /// The way to the database would have to be encrypted.
    #[error(
        "this server does not encrypt its way to the database; connect through a tunnel or a proxy on this computer, \
         or write sslmode=disable if the network between both is trusted"
    )]
    NoTls,
}

impl PostgresUrl {
    /// How long connecting may take: each of the hosts may have to be tried, and one of them must answer.
    pub(super) fn connecting(&self) -> Duration {
        let hosts = self.0.get_hosts().len().max(self.0.get_hostaddrs().len());
        CONNECT.saturating_mul(u32::try_from(hosts).unwrap_or(u32::MAX).saturating_add(1))
    }
}

impl FromStr for PostgresUrl {
    type Err = PostgresUrlError;

    fn from_str(text: &str) -> Result<Self, PostgresUrlError> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err(PostgresUrlError::Unreadable);
        }
        let (place, options) = text.split_once('?').unwrap_or((text, ""));
        let mut mode = None;
        let mut others = Vec::new();
        for option in options.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                _ => others.push(option),
            }
        }
        let text = format!("{place}?{}", others.join("&"));
        // What the driver says about a text may repeat a piece of it.
        let mut config: Config = text.parse().map_err(|_| PostgresUrlError::Unreadable)?;
        let is_local = is_local(&config)?;
        match mode {
            Some("disable") => {}
            None | Some("prefer" | "allow") if is_local => {}
            None | Some("prefer" | "allow" | "require" | "verify-ca" | "verify-full") => {
                return Err(PostgresUrlError::NoTls);
            }
            Some(_) => return Err(PostgresUrlError::UnknownMode),
        }
        config.ssl_mode(SslMode::Disable).connect_timeout(CONNECT).tcp_user_timeout(SILENCE).keepalives_idle(SILENCE);
        if config.get_application_name().is_none() {
            config.application_name("iap-server");
        }
        Ok(Self(Box::new(config)))
    }
}

/// Whether every host is this computer.
fn is_local(config: &Config) -> Result<bool, PostgresUrlError> {
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(PostgresUrlError::NoHost);
    }
    let name_is_local = |host: &Host| match host {
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()),
        #[cfg(unix)]
        Host::Unix(_) => true,
    };
    Ok(config.get_hosts().iter().all(name_is_local) && config.get_hostaddrs().iter().all(IpAddr::is_loopback))
}

/// The URL without its password.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.0.get_user() {
            write!(f, "{user}@")?;
        }
        for (number, host) in self.0.get_hosts().iter().enumerate() {
            f.write_str(if number > 0 { "," } else { "" })?;
            match host {
                Host::Tcp(name) => f.write_str(name)?,
                #[cfg(unix)]
                Host::Unix(path) => write!(f, "{}", path.display())?,
            }
            let port = self.0.get_ports().get(number).or_else(|| self.0.get_ports().first());
            write!(f, ":{}", port.copied().unwrap_or(5432))?;
        }
        write!(f, "/{}", self.0.get_dbname().unwrap_or_default())
    }
}

/// A log is no place for the password.
impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> PostgresUrlError {
        text.parse::<PostgresUrl>().expect_err("it is refused")
    }

    #[test]
    fn password_is_never_shown() {
        let url: PostgresUrl =
            "postgresql://iap:s3cret@localhost:5433/store?application_name=x".parse().expect("a URL");
        assert_eq!(url.to_string(), "postgres://iap@localhost:5433/store");
        assert!(!format!("{url:?}").contains("s3cret"));
        for wrong in ["postgres://iap:s3cret@h:port/x", "postgres://iap:a?s3cret=b@h/x", "mysql://iap:s3cret@h/x"] {
            let error = refused(wrong);
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn way_that_should_be_encrypted_is_never_left_open() {
        for mode in ["?sslmode=require", "?sslmode=verify-full", "?sslmode=verify-ca", "?sslmode=prefer", ""] {
            assert_eq!(refused(&format!("postgres://u@db.example/x{mode}")), PostgresUrlError::NoTls, "{mode}");
        }
        assert_eq!(refused("postgres://u@127.0.0.1/x?sslmode=require"), PostgresUrlError::NoTls);
        assert_eq!(refused("postgres://u@127.0.0.1,db.example/x"), PostgresUrlError::NoTls);
        assert_eq!(refused("postgres://u@127.0.0.1/x?sslmode=requier"), PostgresUrlError::UnknownMode);
        assert_eq!(refused("postgres:///x"), PostgresUrlError::NoHost);
        for right in [
            "postgres://u@127.0.0.1/x",
            "postgres://u@localhost/x?sslmode=prefer",
            "postgres://u@[::1]/x",
            "postgres://u@%2Fvar%2Frun%2Fpostgresql/x",
            "postgres://u@db.example/x?sslmode=disable",
        ] {
            assert!(right.parse::<PostgresUrl>().is_ok(), "{right}");
        }
    }
}
