//! The command line of `iap-server`, as a function, so that it is tested like any other.

mod commands;
mod copies;
mod keys;
mod operations;
mod serve;
mod settings;
mod statements;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use clap::{ArgAction, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use super::{DataFolder, Database, DatabaseError};
use crate::protocol::AccountId;

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
    let parsed = CommandLine::command().try_get_matches_from(arguments);
    let parsed = parsed.and_then(|matches| Ok((CommandLine::from_arg_matches(&matches)?.command, matches)));
    let (command, matches) = match parsed {
        Ok(parsed) => parsed,
        // Asking for help or the version is no error.
        Err(text) if !text.use_stderr() => return written(write!(out, "{text}"), SUCCESS),
        Err(error) => return written(write!(err, "{error}"), USAGE),
    };
    let result = match command {
        // There is a subcommand, or parsing would have failed.
        Command::Serve(arguments) => serve::serve(*arguments, matches.subcommand().map(|(_, of_it)| of_it), out),
        Command::Credit(arguments) => operations::credit(arguments, out, err),
        Command::Refund(arguments) => operations::refund(arguments, out, err),
        Command::RefundCredit(arguments) => operations::refund_credit(arguments, out, err),
        Command::Hold(arguments) => operations::hold(arguments, out, err),
        Command::Post(arguments) => operations::post(arguments, out, err),
        Command::Void(arguments) => operations::void(arguments, out, err),
        Command::Payout(arguments) => operations::payout(arguments, out, err),
        Command::Device { command } => operations::device(command, out, err),
        Command::Statement { command } => statements::statement(command, out),
        Command::Show(arguments) => commands::show(&arguments.account, &arguments.data, out),
        Command::Keys { command } => keys::keys(command, out),
        Command::Backup { file, data } => copies::backup(&file, &data, out),
        Command::Restore { file, data } => copies::restore(&file, &data, out),
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
                  paste into the game. The data folder holds the books and the server's key: keep copies of both (the \
                  books with `backup`), and keep the key secret. All commands but `restore` also work while the \
                  server runs. docs/operating.md tells the rest."
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a store; makes what is missing in the data folder
    Serve(Box<ServeArguments>),
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
    /// Freeze a device, or thaw one
    Device {
        #[command(subcommand)]
        command: operations::DeviceCommand,
    },
    /// Print a statement, as CSV or JSON
    Statement {
        #[command(subcommand)]
        command: statements::StatementCommand,
    },
    /// Show an account: its wallet, devices, what they may spend offline, and latest orders
    Show(ShowArguments),
    /// Show, rotate and revoke the keys that sign receipts
    Keys {
        #[command(subcommand)]
        command: keys::KeysCommand,
    },
    /// Copy the books into a new file, as of this moment, also while the server runs. The key is not in it
    Backup {
        /// The file to make; its folder must be there
        file: PathBuf,
        #[command(flatten)]
        data: Data,
    },
    /// Make a backup the books of a data folder that holds none. Stop its server first
    Restore {
        /// The file that `backup` made
        file: PathBuf,
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
    /// A file of settings, in RON: Server(listen: "0.0.0.0:7878", connections: 4096). Its members are called like the
    /// flags, with `_` for `-`. A flag goes before the environment, that before the file, and that before the default
    #[arg(long, value_name = "FILE", env = "IAP_CONFIG")]
    config: Option<PathBuf>,
    /// Show every setting, its value and where that comes from, as such a file; then end
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    flags: settings::Flags,
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
    use super::*;

    #[test]
    fn command_line_is_well_formed() {
        CommandLine::command().debug_assert();
    }
}
