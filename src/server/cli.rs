//! The command line of `iap-server`, as a function, so that it is tested like any other.

mod commands;
mod operations;
mod serve;
mod statements;

use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use super::{DEFAULT_ADDRESS, DataFolder, Database, DatabaseError};
use crate::protocol::{AccountId, Money};

/// What the process exits with when all went well.
pub const SUCCESS: u8 = 0;
/// What the process exits with when something failed, or an audit or a check found something.
pub const FAILURE: u8 = 1;
/// What the process exits with when the arguments are wrong.
pub const USAGE: u8 = 2;

/// Runs the command line with `arguments`, the program's name first, and returns what the process should exit with.
///
/// Answers go to `out`, everything else to `err`. `serve` returns when a signal has stopped the server.
pub fn run(
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let command = match CommandLine::try_parse_from(arguments) {
        Ok(line) => line.command,
        // Asking for help or the version is no error.
        Err(text) if !text.use_stderr() => return written(write!(out, "{text}"), SUCCESS),
        Err(error) => return written(write!(err, "{error}"), USAGE),
    };
    let result = match command {
        Command::Serve(arguments) => serve::serve(arguments, out),
        Command::Credit(arguments) => operations::credit(arguments, out),
        Command::Refund(arguments) => operations::refund(arguments, out),
        Command::RefundCredit(arguments) => operations::refund_credit(arguments, out),
        Command::Hold(arguments) => operations::hold(arguments, out),
        Command::Post(arguments) => operations::post(arguments, out),
        Command::Void(arguments) => operations::void(arguments, out),
        Command::Payout(arguments) => operations::payout(arguments, out),
        Command::Statement { command } => statements::statement(command, out),
        Command::Show(arguments) => commands::show(&arguments.account, &arguments.data, out),
        Command::Keys { data } => commands::keys(&data, out),
        Command::Audit { data } => commands::audit(&data, out),
        Command::Catalog { command: CatalogCommand::Check { file } } => commands::check(&file, out),
    };
    match result {
        Ok(code) => code,
        Err(error) => written(writeln!(err, "error: {error}"), FAILURE),
    }
}

/// `code`, unless what it stands for could not be told.
fn written(result: std::io::Result<()>, code: u8) -> u8 {
    if result.is_ok() { code } else { FAILURE }
}

/// The exit code, or what went wrong.
type Outcome = Result<u8, Box<dyn std::error::Error>>;

/// The store server of bevy_iap: keeps the wallets, settles orders, and answers each with a signed receipt.
#[derive(Debug, Parser)]
#[command(
    name = "iap-server",
    version,
    after_help = "Start with:\n  iap-server serve --catalog catalog.ron --data store --welcome 1.00EUR\n\nIt prints the line to \
                  paste into the game. The data folder holds the books and the server's key: keep copies of both \
                  (stop the server first, or use `sqlite3 store.sqlite \".backup copy.sqlite\"`), and keep the key \
                  secret. All other commands also work while the server runs."
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a store; makes what is missing in the data folder
    Serve(ServeArguments),
    /// Add money to an account's wallet
    Credit(operations::CreditArguments),
    /// Give back what an order cost, or a part of it, and take back what it gave
    Refund(operations::RefundArguments),
    /// Give a credit back to where it came from; if it is spent, the wallet owes it
    RefundCredit(operations::RefundCreditArguments),
    /// Set money of a wallet aside
    Hold(operations::HoldArguments),
    /// Take what a hold has set aside
    Post(operations::PostArguments),
    /// Give free what a hold has set aside
    Void(operations::VoidArguments),
    /// Tell that a creator was paid
    Payout(operations::PayoutArguments),
    /// Print a statement, as CSV or JSON
    Statement {
        #[command(subcommand)]
        command: statements::StatementCommand,
    },
    /// Show an account: its wallet, devices and latest orders
    Show(ShowArguments),
    /// Show the server's public key, which games and back ends trust
    Keys {
        #[command(flatten)]
        data: Data,
    },
    /// Check the books: every sum, every chain and every signature. Exits with 1 if anything is wrong
    Audit {
        #[command(flatten)]
        data: Data,
    },
    /// Work on a catalogue file
    Catalog {
        #[command(subcommand)]
        command: CatalogCommand,
    },
}

#[derive(Debug, Subcommand)]
enum CatalogCommand {
    /// Print every mistake in a catalogue file, with its place. Exits with 1 if there is any
    Check {
        /// The catalogue, in RON
        file: PathBuf,
    },
}

#[derive(Args, Debug)]
struct Data {
    /// The data folder that `serve` was given
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    database: DatabaseArguments,
}

impl Data {
    /// The folder, with the database that was named.
    fn folder(&self) -> Result<DataFolder, Box<dyn std::error::Error>> {
        Ok(DataFolder::open(&self.data)?.with_database(self.database.parsed()?))
    }
}

// A text here, since a parser's error would repeat it, and the password with it.
#[derive(Args)]
struct DatabaseArguments {
    /// The PostgreSQL database of the books, postgres://USER:PASSWORD@HOST/DATABASE; the data folder unless it is given.
    /// Better set in the environment, where other users of this computer do not see the password
    #[arg(long, value_name = "URL", env = "IAP_DATABASE", hide_env_values = true)]
    database: Option<String>,
}

impl DatabaseArguments {
    fn parsed(&self) -> Result<Database, DatabaseError> {
        self.database.as_deref().unwrap_or_default().parse()
    }
}

/// A log is no place for the password.
impl std::fmt::Debug for DatabaseArguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DatabaseArguments")
    }
}

#[derive(Args, Debug)]
struct ServeArguments {
    /// The catalogue, in RON: what is sold, and for how much
    #[arg(long, value_name = "FILE")]
    catalog: PathBuf,
    /// The folder of the books and the key; made if it is missing
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    database: DatabaseArguments,
    /// The address to listen at. Put a proxy with TLS in front before the internet reaches it
    #[arg(long, value_name = "ADDR", default_value_t = DEFAULT_ADDRESS)]
    listen: SocketAddr,
    /// What every new account gets, for example 1.00EUR
    #[arg(long, value_name = "MONEY")]
    welcome: Option<Money>,
    /// The bearer token for /v1/admin/…; without one those paths are closed. Better set in the environment, where other
    /// users of this computer do not see it
    #[arg(long, value_name = "TOKEN", env = "IAP_ADMIN_TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
}

// An account may start with `-`, and with `-h`: this command has no short flag that it could be taken for.
#[derive(Args, Debug)]
#[command(disable_help_flag = true)]
struct ShowArguments {
    /// The player's account, as the game shows it
    #[arg(allow_hyphen_values = true)]
    account: AccountId,
    #[command(flatten)]
    data: Data,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn command_line_is_well_formed() {
        CommandLine::command().debug_assert();
    }
}
