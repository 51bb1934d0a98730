//! `iap-server statement`: statements as CSV, for spreadsheets, and as JSON, for programs.

use std::io::Write;

use clap::{Args, Subcommand, ValueEnum};

use super::{Data, Outcome, SUCCESS};
use crate::protocol::CreatorId;
use crate::server::clock::{Clock as _, SystemClock};
use crate::server::date::Date;
use crate::server::ledger::{LedgerMoney, Origin};
use crate::server::statement::{self, CreatorStatement, UnusedStatement};

#[derive(Debug, Subcommand)]
pub(super) enum StatementCommand {
    /// What a creator has earned and was paid
    Creator(CreatorArguments),
    /// What players have paid for and not used yet
    Unused(UnusedArguments),
}

/// How a statement is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Csv,
    Json,
}

#[derive(Args, Debug)]
pub(super) struct CreatorArguments {
    /// The creator, as the catalogue names them
    creator: CreatorId,
    /// From when on, for example 2026-01-01; what was before is the opening balance
    #[arg(long, value_name = "DATE", default_value = "1970-01-01")]
    from: Date,
    /// Until when, for example 2026-02-01; what was written then or later is left out. All that is written by now unless
    /// it is given
    #[arg(long, value_name = "DATE")]
    until: Option<Date>,
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    #[command(flatten)]
    data: Data,
}

#[derive(Args, Debug)]
pub(super) struct UnusedArguments {
    /// As of when, for example 2026-01-01; what was written then or later is left out. All that is written by now unless
    /// it is given
    #[arg(long, value_name = "DATE")]
    at: Option<Date>,
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    #[command(flatten)]
    data: Data,
}

/// After how many seconds nothing of before a moment is written any more. A transfer says when it was decided, and may
/// then have waited for others, or for a database that was away.
const CLOSED_AFTER: i64 = 60;

/// The end of a statement of all that is written by now: 9999-12-31.
const BY_NOW: Date = Date(253_402_214_400);

/// The end of a statement; nothing of before it may still be written, or the next statement would begin with another
/// balance than this one ends with.
fn end(asked: Option<Date>, flag: &str) -> Result<Date, String> {
    match asked {
        Some(asked) if asked.0 > SystemClock.now().saturating_sub(CLOSED_AFTER) => Err(format!(
            "{asked} is not over for a minute: transfers of before it may still be written; wait, or leave --{flag} out \
             for what is written by now"
        )),
        asked => Ok(asked.unwrap_or(BY_NOW)),
    }
}

pub(super) fn statement(command: StatementCommand, out: &mut dyn Write) -> Outcome {
    match command {
        StatementCommand::Creator(arguments) => {
            let CreatorArguments { creator, from, until, format, data } = arguments;
            let until = end(until, "until")?;
            let mut ledger = data.folder()?.books()?;
            let statements = statement::creator(&mut *ledger, &creator, from.0, until.0)?;
            match format {
                Format::Csv => creator_csv(&statements, out)?,
                Format::Json => writeln!(out, "{}", serde_json::to_string(&statements)?)?,
            }
        }
        StatementCommand::Unused(UnusedArguments { at, format, data }) => {
            let at = end(at, "at")?;
            let mut ledger = data.folder()?.books()?;
            let statement = statement::unused(&mut *ledger, at.0)?;
            match format {
                Format::Csv => unused_csv(&statement, out)?,
                Format::Json => writeln!(out, "{}", serde_json::to_string(&statement)?)?,
            }
        }
    }
    Ok(SUCCESS)
}

/// An amount without its currency, which has a column of its own.
fn number(money: LedgerMoney) -> String {
    money.decimal().to_string()
}

fn creator_csv(statements: &[CreatorStatement], out: &mut dyn Write) -> csv::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(["creator", "currency", "at", "kind", "transfer", "order", "amount", "balance", "origin"])?;
    for CreatorStatement { creator, from, until, opening, lines, closing } in statements {
        let (creator, currency) = (creator.to_string(), opening.currency.code().to_owned());
        let mut row = |at: &Date, kind: &str, [transfer, order, amount]: [String; 3], balance: LedgerMoney, origin| {
            let (at, balance) = (at.to_string(), number(balance));
            let cells: [&str; 9] = [&creator, &currency, &at, kind, &transfer, &order, &amount, &balance, origin];
            csv.write_record(cells)
        };
        row(from, "opening", Default::default(), *opening, "")?;
        for line in lines {
            let order = line.order.map_or_else(String::new, |order| order.to_string());
            let cells = [line.transfer.to_string(), order, number(line.amount)];
            row(&line.at, &line.kind, cells, line.balance, line.origin.map_or("", Origin::as_str))?;
        }
        row(until, "closing", Default::default(), *closing, "")?;
    }
    Ok(csv.flush()?)
}

fn unused_csv(statement: &UnusedStatement, out: &mut dyn Write) -> csv::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(["kind", "account", "currency", "source", "lot", "opened_at", "opened_with", "unused"])?;
    for lot in &statement.lots {
        let (id, opened_at) = (lot.lot.to_string(), lot.opened_at.to_string());
        let (opened_with, unused) = (number(lot.opened_with), number(lot.unused));
        let currency = lot.unused.currency.code();
        csv.write_record(["lot", &lot.account, currency, &lot.source, &id, &opened_at, &opened_with, &unused])?;
    }
    for (kind, sums) in [("unused", &statement.unused), ("owed", &statement.owed)] {
        for sum in sums {
            csv.write_record([kind, "", sum.currency.code(), "", "", "", "", &number(*sum)])?;
        }
    }
    Ok(csv.flush()?)
}
