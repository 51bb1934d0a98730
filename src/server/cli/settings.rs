//! The settings of `serve`: from flags, the environment, a file, and what they are otherwise, in this order.
//!
//! One list says what there is to set. The flags, their help, the members of the file and what `--print-config` shows
//! are made from it, so that none of them can be forgotten. A value is written the same way wherever it is written.

mod values;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::{ArgMatches, Args, parser::ValueSource};
use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

use self::values::{Count, Networks, Number, Positive, RateOrOff, Secret};
use crate::protocol::Money;
use crate::server::login::{LoginConfig, Nonce};
use crate::server::{AccountRules, AllowanceRules, AllowedOrigins, DEFAULT_ADDRESS, Database, Limits, Rate};

/// What memory is set in.
const MEBIBYTE: usize = 1024 * 1024;

/// Where the file's own text form differs in nothing from a flag's: both are parsed by the same function.
struct Text<T>(T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(std::marker::PhantomData<T>);
        impl<T: FromStr<Err: fmt::Display>> de::Visitor<'_> for Visitor<T> {
            type Value = Text<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text in quotes, a whole number, or true or false")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<T>, E> {
                text.parse().map(Text).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Text<T>, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Text<T>, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Text<T>, E> {
                self.visit_str(if truth { "true" } else { "false" })
            }
        }
        deserializer.deserialize_any(Visitor(std::marker::PhantomData))
    }
}

fn from_text<'de, T: FromStr<Err: fmt::Display>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(Some(Text::deserialize(deserializer)?.0))
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Flag,
    Environment,
    File,
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Default => "default",
        })
    }
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty, $value_name:literal, $env:literal;)*) => {
        /// What can be set by a flag or in the environment.
        #[derive(Args, Debug)]
        pub(super) struct Flags {
            $($(#[doc = $doc])+ #[arg(long, value_name = $value_name, env = $env, hide_env_values = true)]
            $name: Option<$type>,)*
        }

        /// What can be set in the file.
        #[derive(Debug, Default, Deserialize)]
        #[serde(rename = "Server", deny_unknown_fields, default)]
        struct File {
            $(#[serde(deserialize_with = "from_text")] $name: Option<$type>,)*
        }

        /// What is set, wherever, and where.
        #[derive(Debug)]
        pub(super) struct Settings {
            $(pub(super) $name: Option<$type>,)*
            sources: Vec<(&'static str, Source)>,
        }

        impl Settings {
            fn merged(flags: Flags, matches: &ArgMatches, file: File) -> Self {
                let mut sources = Vec::new();
                $(
                    let source = match matches.value_source(stringify!($name)) {
                        Some(ValueSource::EnvVariable) => Source::Environment,
                        Some(ValueSource::CommandLine) => Source::Flag,
                        _ if file.$name.is_some() => Source::File,
                        _ => Source::Default,
                    };
                    sources.push((stringify!($name), source));
                    let $name = flags.$name.or(file.$name);
                )*
                Self { $($name,)* sources }
            }
        }
    };
}

settings! {
    /// The catalogue, in RON: what is sold, and for how much
    catalog: PathBuf, "FILE", "IAP_CATALOG";
    /// The folder of the books and the key; made if it is missing
    data: PathBuf, "DIR", "IAP_DATA";
    /// The PostgreSQL database of the books, postgres://USER:PASSWORD@HOST/DATABASE. Better set in the environment, where
    /// other users of this computer do not see the password [default: the data folder]
    database: Secret, "URL", "IAP_DATABASE";
    /// The address to listen at. Put a proxy with TLS in front before the internet reaches it [default: 127.0.0.1:7878]
    listen: SocketAddr, "ADDR", "IAP_LISTEN";
    /// What every new account gets, for example 1.00EUR [default: nothing]
    welcome: Money, "MONEY", "IAP_WELCOME";
    /// The bearer token for /v1/admin/…; without one those paths are closed. Better set in the environment, where other
    /// users of this computer do not see it
    admin_token: Secret, "TOKEN", "IAP_ADMIN_TOKEN";
    /// The addresses and networks of the proxies whose X-Forwarded-For is believed, with commas between them, for
    /// example 127.0.0.1,10.0.0.0/8. Without it the limits of addresses cannot tell the proxy's clients apart
    trust_proxy: Networks, "NETWORKS", "IAP_TRUST_PROXY";
    /// The origins of web pages that may use the store from a browser, with commas between them, for example
    /// https://games.example; or * for all [default: pages that this machine serves]
    allow_origin: AllowedOrigins, "ORIGINS", "IAP_ALLOW_ORIGIN";
    /// Open connections. Without room for another one, the one that has kept the server waiting the longest is closed.
    /// This and other numbers are 1 to 1000000 [default: 8192]
    connections: Count<{ Limits::MOST }>, "N", "IAP_CONNECTIONS";
    /// Open connections of one address; more are closed at once [default: 256]
    connections_per_address: Count<{ Limits::MOST }>, "N", "IAP_CONNECTIONS_PER_ADDRESS";
    /// Orders of one device, as how many a minute and how many at once, or off [default: 600:2048]
    orders_per_device: RateOrOff, "RATE", "IAP_ORDERS_PER_DEVICE";
    /// Orders from one address [default: 6000:8192]
    orders_per_address: RateOrOff, "RATE", "IAP_ORDERS_PER_ADDRESS";
    /// Requests from one address [default: 3000:1000]
    requests_per_address: RateOrOff, "RATE", "IAP_REQUESTS_PER_ADDRESS";
    /// New devices from one address; each gets the welcome credit [default: 10:100]
    enrolments_per_address: RateOrOff, "RATE", "IAP_ENROLMENTS_PER_ADDRESS";
    /// Questions about accounts of one device: to join, to name, to revoke, to be told [default: 20:30]
    questions_per_device: RateOrOff, "RATE", "IAP_QUESTIONS_PER_DEVICE";
    /// Questions about accounts from one address [default: 120:120]
    questions_per_address: RateOrOff, "RATE", "IAP_QUESTIONS_PER_ADDRESS";
    /// Link codes that one device makes [default: 5:10]
    codes_made_per_device: RateOrOff, "RATE", "IAP_CODES_MADE_PER_DEVICE";
    /// Link codes that one device tries, right or wrong [default: 5:10]
    codes_tried_per_device: RateOrOff, "RATE", "IAP_CODES_TRIED_PER_DEVICE";
    /// Link codes that are tried from one address [default: 20:20]
    codes_tried_per_address: RateOrOff, "RATE", "IAP_CODES_TRIED_PER_ADDRESS";
    /// Link codes that are tried by everybody together, so that nobody guesses one [default: 300:300]
    codes_tried: RateOrOff, "RATE", "IAP_CODES_TRIED";
    /// Whether the limits of addresses also hold for this computer's own, true or false [default: false]
    limit_loopback: bool, "BOOL", "IAP_LIMIT_LOOPBACK";
    /// Orders that wait to be settled, where a request counts as one more than its orders; more are told to come back
    /// [default: 16384]
    queue: Count<{ Limits::MOST }>, "N", "IAP_QUEUE";
    /// The number of orders at which a batch is full [default: 1000]
    batch: Count<{ Limits::MOST }>, "N", "IAP_BATCH";
    /// Mebibytes of bodies that are held at once, 1 to 4095 [default: 64]
    memory: Count<{ Limits::MOST_MEMORY / MEBIBYTE }>, "MIB", "IAP_MEMORY";
    /// Seconds that a request's head, its body and the reading of its answer may take each, and that a connection may
    /// be idle, 1 to 86400; a server that stops waits as long for what was begun [default: 10]
    time: Count<{ Limits::LONGEST.as_secs() as usize }>, "SECONDS", "IAP_TIME";
    /// How much of what is available in a wallet is set aside for a device to spend offline, in per cent, 0 to 100; 0 for
    /// none [default: 20]
    allowance_percent: Number<0, 100>, "N", "IAP_ALLOWANCE_PERCENT";
    /// The most that is set aside for a device, in each currency, for example 5 or 0.50 [default: 5]
    allowance_most: Positive, "AMOUNT", "IAP_ALLOWANCE_MOST";
    /// For how many days a device may spend it, 1 to 365 [default: 7]
    allowance_days: Number<1, { AllowanceRules::MOST_DAYS }>, "N", "IAP_ALLOWANCE_DAYS";
    /// For how many days after that what it spent offline is honoured, 0 to 365 [default: 7]
    allowance_grace_days: Number<0, { AllowanceRules::MOST_DAYS }>, "N", "IAP_ALLOWANCE_GRACE_DAYS";
    /// How many orders a device may make within it, 1 to 1000000 [default: 100]
    allowance_orders: Number<1, { AllowanceRules::MOST_ORDERS }>, "N", "IAP_ALLOWANCE_ORDERS";
    /// How many devices an account may have that are not revoked, 1 to 100 [default: 10]
    devices_per_account: Number<1, { AccountRules::MOST_DEVICES }>, "N", "IAP_DEVICES_PER_ACCOUNT";
    /// The issuer of the ID tokens that players sign in with, as the tokens name it, for example
    /// https://login.example; none signs in unless it is set
    login_issuer: String, "URL", "IAP_LOGIN_ISSUER";
    /// For whom the ID tokens are: the game's client id at the login. Needed with --login-issuer
    login_audience: String, "NAME", "IAP_LOGIN_AUDIENCE";
    /// The login's keys, a JWK set: a URL, or a file [default: the one that the issuer's
    /// /.well-known/openid-configuration names]
    login_keys: String, "URL", "IAP_LOGIN_KEYS";
    /// How many seconds old an ID token may be, 1 to 86400 [default: 600]
    login_max_age: Number<1, { LoginConfig::LONGEST_AGE }>, "SECONDS", "IAP_LOGIN_MAX_AGE";
    /// Whether an ID token must be for the one device that signs in, by a nonce that is the device's id, required or
    /// optional; one that has a nonce must in any case [default: required]
    login_nonce: Nonce, "WHICH", "IAP_LOGIN_NONCE";
}

/// Why the settings cannot be used.
#[derive(Debug, Error)]
pub(super) enum SettingsError {
    #[error("the file of settings `{}` cannot be read: {source}; pass a RON file", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{0}")]
    File(String),
    #[error("no {0} is set; pass --{0}, or set it in the environment or in the file of --config")]
    Missing(&'static str),
}

impl Settings {
    /// Reads the settings. `matches` says which flags were set by hand, and which by the environment.
    pub(super) fn read(flags: Flags, file: Option<&Path>, matches: &ArgMatches) -> Result<Self, SettingsError> {
        let file = file.map_or(Ok(File::default()), read_file)?;
        Ok(Self::merged(flags, matches, file))
    }

    /// The limits that are set, and the defaults of the others.
    pub(super) fn limits(&self) -> Limits {
        let default = Limits::default();
        let rate = |set: Option<RateOrOff>, default| set.map_or(default, |set| set.0);
        let per_address = self.connections_per_address;
        Limits {
            connections: self.connections.map_or(default.connections, |count| count.0),
            connections_per_address: per_address.map_or(default.connections_per_address, |count| count.0),
            queue: self.queue.map_or(default.queue, |count| count.0),
            batch: self.batch.map_or(default.batch, |count| count.0),
            memory: self.memory.map_or(default.memory, |mebibytes| mebibytes.0.saturating_mul(MEBIBYTE)),
            time: self.time.map_or(default.time, |seconds| Duration::from_secs(seconds.0 as u64)),
            orders_per_device: rate(self.orders_per_device, default.orders_per_device),
            orders_per_address: rate(self.orders_per_address, default.orders_per_address),
            requests_per_address: rate(self.requests_per_address, default.requests_per_address),
            enrolments_per_address: rate(self.enrolments_per_address, default.enrolments_per_address),
            questions_per_device: rate(self.questions_per_device, default.questions_per_device),
            questions_per_address: rate(self.questions_per_address, default.questions_per_address),
            codes_made_per_device: rate(self.codes_made_per_device, default.codes_made_per_device),
            codes_tried_per_device: rate(self.codes_tried_per_device, default.codes_tried_per_device),
            codes_tried_per_address: rate(self.codes_tried_per_address, default.codes_tried_per_address),
            codes_tried: rate(self.codes_tried, default.codes_tried),
            loopback: self.limit_loopback.unwrap_or(default.loopback),
        }
    }

    /// How much devices may spend offline, as it is set, and by default.
    pub(super) fn allowances(&self) -> AllowanceRules {
        let default = AllowanceRules::default();
        AllowanceRules {
            percent: self.allowance_percent.map_or(default.percent, |number| number.0),
            most: self.allowance_most.map_or(default.most, |amount| amount.0),
            days: self.allowance_days.map_or(default.days, |number| number.0),
            grace_days: self.allowance_grace_days.map_or(default.grace_days, |number| number.0),
            orders: self.allowance_orders.map_or(default.orders, |number| number.0),
        }
    }

    /// How many devices accounts may have, as it is set, and by default.
    pub(super) fn accounts(&self) -> AccountRules {
        AccountRules { devices: self.devices_per_account.map_or(AccountRules::default().devices, |number| number.0) }
    }

    /// The login whose ID tokens are taken, if one is set.
    pub(super) fn login(&self) -> Result<Option<LoginConfig>, SettingsError> {
        let Some(issuer) = &self.login_issuer else { return Ok(None) };
        let audience = self.login_audience.as_ref().ok_or(SettingsError::Missing("login-audience"))?;
        let default = LoginConfig::new(issuer.as_str(), audience.as_str());
        Ok(Some(LoginConfig {
            keys: self.login_keys.clone(),
            max_age: self.login_max_age.map_or(default.max_age, |number| number.0),
            nonce: self.login_nonce.unwrap_or(default.nonce),
            ..default
        }))
    }

    /// Every setting with its value and where that came from, as a file of settings; secrets are left out.
    pub(super) fn shown(&self) -> String {
        let (limits, allowances) = (self.limits(), self.allowances());
        let text = |value: Option<String>| value.map(|value| format!("{value:?}"));
        let path = |path: &Option<PathBuf>| text(path.as_ref().map(|path| path.display().to_string()));
        let rate = |rate: Option<Rate>| text(Some(RateOrOff(rate).to_string()));
        let mut lines = String::from("Server(\n");
        for (name, source) in &self.sources {
            let value = match *name {
                "catalog" => path(&self.catalog),
                "data" => path(&self.data),
                "listen" => text(Some(self.listen.unwrap_or(DEFAULT_ADDRESS).to_string())),
                "welcome" => text(self.welcome.map(|money| money.to_string().replace(' ', ""))),
                "admin_token" => None,
                // Without its password; one that cannot be read is not shown at all.
                "database" => {
                    let read = |url: &Secret| url.0.parse::<Database>().ok();
                    text(self.database.as_ref().and_then(read).map(|database| database.to_string()))
                }
                "trust_proxy" => text(self.trust_proxy.as_ref().map(ToString::to_string)),
                "allow_origin" => text(self.allow_origin.as_ref().map(ToString::to_string)),
                "connections" => Some(limits.connections.to_string()),
                "connections_per_address" => Some(limits.connections_per_address.to_string()),
                "orders_per_device" => rate(limits.orders_per_device),
                "orders_per_address" => rate(limits.orders_per_address),
                "requests_per_address" => rate(limits.requests_per_address),
                "enrolments_per_address" => rate(limits.enrolments_per_address),
                "limit_loopback" => Some(limits.loopback.to_string()),
                "queue" => Some(limits.queue.to_string()),
                "batch" => Some(limits.batch.to_string()),
                "memory" => Some((limits.memory / MEBIBYTE).to_string()),
                "allowance_percent" => Some(allowances.percent.to_string()),
                "allowance_most" => text(Some(allowances.most.to_string())),
                "allowance_days" => Some(allowances.days.to_string()),
                "allowance_grace_days" => Some(allowances.grace_days.to_string()),
                "questions_per_device" => rate(limits.questions_per_device),
                "questions_per_address" => rate(limits.questions_per_address),
                "codes_made_per_device" => rate(limits.codes_made_per_device),
                "codes_tried_per_device" => rate(limits.codes_tried_per_device),
                "codes_tried_per_address" => rate(limits.codes_tried_per_address),
                "codes_tried" => rate(limits.codes_tried),
                "devices_per_account" => Some(self.accounts().devices.to_string()),
                "login_issuer" => text(self.login_issuer.clone()),
                "login_audience" => text(self.login_audience.clone()),
                "login_keys" => text(self.login_keys.clone()),
                "login_max_age" => {
                    let seconds = self.login_max_age.map_or(LoginConfig::USUAL_AGE, |number| number.0);
                    Some(seconds.to_string())
                }
                "login_nonce" => text(Some(self.login_nonce.unwrap_or_default().to_string())),
                "allowance_orders" => Some(allowances.orders.to_string()),
                _ => Some(limits.time.as_secs().to_string()),
            };
            let line = match value {
                Some(value) => format!("    {name}: {value}, // {source}\n"),
                None if *source == Source::Default => format!("    // {name} is not set\n"),
                None => format!("    // {name} is set and not shown // {source}\n"),
            };
            lines.push_str(&line);
        }
        lines + ")\n"
    }
}

fn read_file(path: &Path) -> Result<File, SettingsError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })?;
    let options = ron::Options::default().with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME);
    options.from_str(&text).map_err(|error| {
        let place = error.span.start;
        let told = match &error.code {
            ron::Error::NoSuchStructField { found, expected, .. } => unknown_key(found, expected),
            code => code.to_string(),
        };
        SettingsError::File(format!("{}:{}:{}: {told}", path.display(), place.line, place.col))
    })
}

fn unknown_key(found: &str, expected: &[&str]) -> String {
    let distance = |name: &&&str| strsim::damerau_levenshtein(found, name);
    match expected.iter().min_by_key(distance).filter(|name| distance(name) <= 1 + found.len() / 3) {
        Some(nearest) => format!("there is no setting {found:?}; did you mean {nearest:?}?"),
        None => format!("there is no setting {found:?}; `iap-server help serve` lists them"),
    }
}
