//! The commands that change the books: credits, refunds, holds, payouts, and devices that are frozen, revoked or named.

use std::io::Write;

use clap::{ArgAction, Args, Subcommand};

use super::commands::{show_devices, shown};
use super::{Data, Outcome, SUCCESS};
use crate::protocol::{AccountId, CreatorId, Currency, DeviceName, KeyId, Micros, Money, OrderId, SourceId};
use crate::server::clock::{Clock as _, SystemClock};
use crate::server::date::Date;
use crate::server::ledger::operation::{
    FreezeDevice, Hold, NameDevice, Payout, Post, RefundCredit, RefundOrder, RevokeDevice, ThawDevice, Void,
};
use crate::server::ledger::{Action, Answer, Credit, Ledger, Operation, OperationId, Origin};
use crate::server::operator::random_operation_id;
use crate::server::signing::Signer;
use crate::server::{OperationError, SigningKeys};

/// The id of an operation.
#[derive(Args, Debug)]
pub(super) struct Id {
    /// The id to do it under, 32 hexadecimal digits: done again under it, it is done once. One is chosen if it is left
    /// out, and told before anything is done
    #[arg(long, value_name = "ID")]
    id: Option<OperationId>,
}

// An account may start with `-`, and with `-h`: these commands have no short flag that it could be taken for.
#[derive(Args, Debug)]
#[command(disable_help_flag = true)]
pub(super) struct CreditArguments {
    /// The player's account, as the game shows it
    #[arg(allow_hyphen_values = true)]
    account: AccountId,
    /// How much, for example 5 or 0.50
    #[arg(allow_hyphen_values = true)]
    amount: Micros,
    /// The ISO 4217 code, for example EUR
    currency: Currency,
    #[command(flatten)]
    id: Id,
    /// Nobody has paid for it: it is spent first, and is no unused paid balance
    #[arg(long)]
    promotional: bool,
    /// Where it comes from, for example a payment provider; `operator` unless it is given
    #[arg(long, value_name = "NAME")]
    source: Option<SourceId>,
    /// From when on it is not given back to its source, unless that is forced, for example 2026-01-31
    #[arg(long, value_name = "DATE")]
    refundable_until: Option<Date>,
    /// What the source keeps of it for itself, for example 0.30
    #[arg(long, value_name = "AMOUNT")]
    fee: Option<Micros>,
    #[command(flatten)]
    data: Data,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

#[derive(Args, Debug)]
pub(super) struct RefundArguments {
    /// The order's id, 32 hexadecimal digits; `show` lists them
    order: OrderId,
    /// How many of what was ordered; all that are left unless it is given. A part may be refunded again, so it needs an
    /// --id
    #[arg(long, value_name = "NUMBER", requires = "id")]
    quantity: Option<u32>,
    #[command(flatten)]
    id: Id,
    #[command(flatten)]
    data: Data,
}

#[derive(Args, Debug)]
pub(super) struct RefundCreditArguments {
    /// The id that the credit was made under
    credit: OperationId,
    /// How much; all that is left to be refunded unless it is given
    #[arg(long, value_name = "AMOUNT")]
    amount: Option<Micros>,
    /// Refuse if it is spent or held, so that nobody owes anything
    #[arg(long)]
    only_unspent: bool,
    /// Do it also when it is too late, as for a charge-back
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    id: Id,
    #[command(flatten)]
    data: Data,
}

#[derive(Args, Debug)]
#[command(disable_help_flag = true)]
pub(super) struct HoldArguments {
    /// The player's account, as the game shows it
    #[arg(allow_hyphen_values = true)]
    account: AccountId,
    /// How much, for example 5 or 0.50
    #[arg(allow_hyphen_values = true)]
    amount: Micros,
    /// The ISO 4217 code, for example EUR
    currency: Currency,
    /// When it ends by itself, for example 2026-01-31T12:00:00Z
    #[arg(long, value_name = "DATE")]
    expires_at: Date,
    #[command(flatten)]
    id: Id,
    #[command(flatten)]
    data: Data,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

#[derive(Args, Debug)]
pub(super) struct PostArguments {
    /// The id that the hold was made under
    hold: OperationId,
    /// How much; all of it unless it is given. The rest can be spent again
    #[arg(long, value_name = "AMOUNT")]
    amount: Option<Micros>,
    #[command(flatten)]
    id: Id,
    #[command(flatten)]
    data: Data,
}

#[derive(Args, Debug)]
pub(super) struct VoidArguments {
    /// The id that the hold was made under
    hold: OperationId,
    #[command(flatten)]
    id: Id,
    #[command(flatten)]
    data: Data,
}

#[derive(Args, Debug)]
pub(super) struct PayoutArguments {
    /// The creator, as the catalogue names them
    creator: CreatorId,
    /// How much was paid, for example 25.00
    amount: Micros,
    /// The ISO 4217 code, for example EUR
    currency: Currency,
    /// Who has paid it, for example a bank
    #[arg(long, value_name = "NAME")]
    source: SourceId,
    #[command(flatten)]
    id: Id,
    #[command(flatten)]
    data: Data,
}

#[derive(Debug, Subcommand)]
pub(super) enum DeviceCommand {
    /// Sell nothing to a device any more, and give free what it might have spent offline. Other devices of the account go
    /// on
    Freeze(DeviceArguments),
    /// List the devices of an account, with their names
    List(ListArguments),
    /// Have a device buy nothing and hear nothing any more, for ever. Other devices of the account go on
    Revoke(DeviceArguments),
    /// Call a device by a name, which its player sees too; without a name, by none
    Name(NameArguments),
    /// Sell to a device again that was frozen, by `freeze` or because it was copied to spend an allowance twice
    Thaw(DeviceArguments),
}

// The id of a device may start with `-` too.
#[derive(Args, Debug)]
#[command(disable_help_flag = true)]
pub(super) struct DeviceArguments {
    /// The device's id; `show` lists those of an account
    #[arg(allow_hyphen_values = true)]
    device: KeyId,
    #[command(flatten)]
    id: Id,
    #[command(flatten)]
    data: Data,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

// An account may start with `-`, and with `-h`.
#[derive(Args, Debug)]
#[command(disable_help_flag = true)]
pub(super) struct ListArguments {
    /// The player's account, as the game shows it
    #[arg(allow_hyphen_values = true)]
    account: AccountId,
    #[command(flatten)]
    data: Data,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

#[derive(Args, Debug)]
#[command(disable_help_flag = true)]
pub(super) struct NameArguments {
    /// The device's id; `list` tells those of an account
    #[arg(allow_hyphen_values = true)]
    device: KeyId,
    /// The name, 1 to 40 characters
    name: Option<DeviceName>,
    #[command(flatten)]
    id: Id,
    #[command(flatten)]
    data: Data,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

pub(super) fn credit(arguments: CreditArguments, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    let CreditArguments { account, amount, currency, id, promotional, source, refundable_until, fee, data, .. } =
        arguments;
    let paid = Credit::paid(account, Money::new(amount, currency))?;
    let credit = Credit {
        origin: if promotional { Origin::Promotional } else { Origin::Paid },
        source: source.unwrap_or_else(|| paid.source.clone()),
        refundable_until: refundable_until.map(|date| date.0),
        fee,
        ..paid
    };
    operate(&data, &id, credit, "credited", out, err)
}

pub(super) fn refund(arguments: RefundArguments, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    let RefundArguments { order, quantity, id, data } = arguments;
    operate(&data, &id, RefundOrder { order, quantity }, "refunded", out, err)
}

pub(super) fn refund_credit(arguments: RefundCreditArguments, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    let RefundCreditArguments { credit, amount, only_unspent, force: forced, id, data } = arguments;
    operate(&data, &id, RefundCredit { credit, amount, only_unspent, forced }, "gave back", out, err)
}

pub(super) fn hold(arguments: HoldArguments, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    let HoldArguments { account, amount, currency, expires_at, id, data, .. } = arguments;
    let money = Money::new(amount, currency);
    operate(&data, &id, Hold { account, money, expires_at: expires_at.0 }, "set aside", out, err)
}

pub(super) fn post(arguments: PostArguments, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    let PostArguments { hold, amount, id, data } = arguments;
    operate(&data, &id, Post { hold, amount }, "took", out, err)
}

pub(super) fn void(arguments: VoidArguments, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    let VoidArguments { hold, id, data } = arguments;
    operate(&data, &id, Void { hold }, "gave free", out, err)
}

pub(super) fn device(command: DeviceCommand, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    match command {
        DeviceCommand::Freeze(DeviceArguments { device, id, data, .. }) => {
            operate(&data, &id, FreezeDevice { device }, "froze", out, err)
        }
        DeviceCommand::List(ListArguments { account, data, .. }) => {
            let summary = data.folder()?.books()?.show(&account)?;
            let summary = summary.ok_or_else(|| OperationError::UnknownAccount(account.clone()))?;
            show_devices(&summary, out)?;
            Ok(SUCCESS)
        }
        DeviceCommand::Revoke(DeviceArguments { device, id, data, .. }) => {
            operate(&data, &id, RevokeDevice { device }, "revoked", out, err)
        }
        DeviceCommand::Name(NameArguments { device, name, id, data, .. }) => {
            operate(&data, &id, NameDevice { device, name }, "named", out, err)
        }
        DeviceCommand::Thaw(DeviceArguments { device, id, data, .. }) => {
            operate(&data, &id, ThawDevice { device }, "thawed", out, err)
        }
    }
}

pub(super) fn payout(arguments: PayoutArguments, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    let PayoutArguments { creator, amount, currency, source, id, data } = arguments;
    operate(&data, &id, Payout { creator, money: Money::new(amount, currency), source }, "paid", out, err)
}

/// Does it, and tells what came of it.
fn operate(
    data: &Data,
    id: &Id,
    action: impl Into<Action>,
    done: &str,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Outcome {
    let (mut ledger, mut signer) = open(data)?;
    let id = match id.id {
        Some(id) => id,
        None => {
            let id = random_operation_id()?;
            // Before it is done: should its answer be lost, this is what to do it again under.
            writeln!(err, "id  {id}")?;
            id
        }
    };
    let answer = ledger.operate(&Operation::new(id, action), &mut signer, SystemClock.now());
    match answer.map_err(|error| OperationError::of(id, error))? {
        Answer::Wallet { account, balance, money } => {
            writeln!(out, "{done} {money}; {account} now {}", shown(&balance))?;
        }
        Answer::Order { receipt, money, quantity } => {
            writeln!(out, "{done} {money} for {quantity} × {} to {}", receipt.product, receipt.account)?;
        }
        Answer::Revoked { device, account } => writeln!(out, "{done} the device {device} of {account}")?,
        Answer::Named { device, account, .. } => writeln!(out, "{done} the device {device} of {account}")?,
        Answer::Device { device, account, .. } => writeln!(out, "{done} the device {device} of {account}")?,
        Answer::Creator { creator, money, payable } => {
            writeln!(out, "{done} {money} to {creator}; {payable} is payable now")?;
        }
    }
    writeln!(out, "id  {id}")?;
    Ok(SUCCESS)
}

fn open(data: &Data) -> Result<(Box<dyn Ledger>, Signer), Box<dyn std::error::Error>> {
    let folder = data.folder()?;
    let ledger = folder.books()?;
    let game = ledger.game().clone();
    let signer = Signer::of(&SigningKeys::read(&folder, &game)?, game);
    Ok((ledger, signer))
}
