//! A server in a few lines that keeps true books of what it was asked: one device, whose key may be replaced and which may
//! join another account, one product, no limit to the wallet.

use std::collections::BTreeMap;

use crate::client::{Request, Response};
use crate::protocol::sync::{ChainHead, MAX_RECEIPTS, SyncError, SyncRequest, SyncResponse};
use crate::protocol::{
    AccountAsk, AccountId, AccountRequest, AccountResponse, Consumption, ConsumptionId, ConsumptionReason,
    ConsumptionReceipt, ConsumptionStatus, DeviceEntry, GameId, Grant, KeyId, Order, OrderId, PublicKey, Reason,
    Receipt, ReceiptId, SecretKey, Sha256, Status, Token, UnixSeconds, envelope,
};

/// The books.
#[derive(Clone, Debug)]
pub(super) struct Shop {
    key: SecretKey,
    device: Option<PublicKey>,
    /// The keys whose place it took.
    revoked: Vec<PublicKey>,
    /// Another account than that of the first key, which the device has joined.
    joined: Option<AccountId>,
    /// Whether the account of before has another device, so that it keeps what is its own.
    is_left_to_another: bool,
    answers: BTreeMap<OrderId, (Sha256, Token)>,
    /// The feed of the account of now.
    feed: Vec<Token>,
    /// What it says of the orders that are granted.
    granted: Vec<Receipt>,
    chain: Option<ChainHead>,
    /// The orders that were granted, in whichever account, with how often each was charged.
    charged: BTreeMap<OrderId, u32>,
    /// How many shields were sold to the account of now.
    sold: u64,
    /// The consumptions that were decided.
    consumed: BTreeMap<ConsumptionId, Sha256>,
    /// How many shields are used up in the account of now.
    used: u64,
    consumed_sequence: u64,
    pub(super) time: UnixSeconds,
}

/// The game of the protocol's worked example, as [`Shop::new`] is its server.
pub(super) fn game() -> GameId {
    "arcade".parse().expect("a name")
}

impl Shop {
    pub(super) fn new() -> Self {
        Self {
            key: SecretKey::from_seed(&[2; 32]),
            device: None,
            revoked: Vec::new(),
            joined: None,
            is_left_to_another: false,
            answers: BTreeMap::new(),
            feed: Vec::new(),
            granted: Vec::new(),
            chain: None,
            charged: BTreeMap::new(),
            sold: 0,
            consumed: BTreeMap::new(),
            used: 0,
            consumed_sequence: 0,
            time: 1_700_000_000,
        }
    }

    /// A server that has granted one order of this device, of which one shield is left, and has last been heard of then.
    pub(super) fn that_settled(device: PublicKey, claims: &Order, order: &Token, receipt: &Token) -> Self {
        let sha256 = order.sha256();
        Self {
            device: Some(device),
            answers: BTreeMap::from([(claims.id, (sha256, receipt.clone()))]),
            feed: vec![receipt.clone()],
            granted: vec![envelope::claims_of_stored(receipt).expect("a receipt")],
            chain: Some(ChainHead { sequence: claims.sequence, order_sha256: sha256 }),
            charged: BTreeMap::from([(claims.id, 1)]),
            sold: u64::from(claims.quantity),
            used: u64::from(claims.quantity) - 1,
            time: claims.issued_at + 1_000,
            ..Self::new()
        }
    }

    /// The same, where the account of the device has another one, which keeps everything when this one joins another.
    pub(super) fn with_another_device(self) -> Self {
        Self { is_left_to_another: true, ..self }
    }

    pub(super) fn public_key(&self) -> PublicKey {
        self.key.public()
    }

    pub(super) fn charged(&self, order: OrderId) -> u32 {
        self.charged.get(&order).copied().unwrap_or_default()
    }

    /// The orders that were granted, and are the account's of now.
    pub(super) fn granted(&self) -> impl Iterator<Item = OrderId> {
        self.granted.iter().map(|receipt| receipt.order)
    }

    /// How many shields are left.
    pub(super) fn left(&self) -> u64 {
        self.sold - self.used
    }

    pub(super) fn answered(&self, order: OrderId) -> bool {
        self.answers.contains_key(&order)
    }

    /// Answers a request of the device with `key`; in words, what a client must never do.
    pub(super) fn answer(&mut self, request: &Request, key: PublicKey) -> Result<Response, String> {
        if request.path == "/v1/devices" {
            self.device.get_or_insert(key);
            return Ok(Response { status: 201, ..Response::default() });
        }
        if self.device.is_none() {
            return Ok(problem("unknown-device", 404));
        }
        let text = std::str::from_utf8(&request.body).map_err(|error| error.to_string())?;
        let token = Token::from_text(text);
        if request.path == "/v1/account" {
            return self.answer_question(&token);
        }
        if self.revoked.contains(&key) {
            return Ok(problem("device-revoked", 403));
        }
        let account = self.account();
        let sync = match SyncRequest::verify(&token, key, &account, &game()) {
            Err(SyncError::WrongAccount { .. }) if self.joined.is_some() => return Ok(problem("wrong-account", 422)),
            sync => sync.map_err(|error| format!("a bad request: {error}"))?,
        };
        let mut receipts = Vec::new();
        for order in &sync.orders {
            let claims =
                Order::verify(order, key, &account, &game()).map_err(|error| format!("a bad order: {error}"))?;
            receipts.push(self.settle(order, &claims)?);
        }
        for consumption in &sync.consumptions {
            let claims = Consumption::verify(consumption, key, &account, &game())
                .map_err(|error| format!("a bad consumption: {error}"))?;
            self.consume(consumption, &claims)?;
        }
        let from = usize::try_from(sync.cursor).unwrap_or(usize::MAX).min(self.feed.len());
        let to = (from + MAX_RECEIPTS).min(self.feed.len());
        receipts.extend_from_slice(&self.feed[from..to]);
        self.time += 1;
        let response = SyncResponse {
            server: self.key.id(),
            account,
            game: game(),
            issued_at: self.time,
            request_sha256: token.sha256(),
            receipts,
            cursor: to as u64,
            more: to < self.feed.len(),
            wallet: Vec::new(),
            chain: self.chain,
            catalog: Sha256::of("catalog"),
            allowances: Vec::new(),
            consumed_sequence: self.consumed_sequence,
        };
        let token = response.sign(&self.key).map_err(|error| error.to_string())?;
        Ok(Response { status: 200, retry_after: None, body: token.as_str().as_bytes().to_vec() })
    }

    fn consume(&mut self, token: &Token, consumption: &Consumption) -> Result<(), String> {
        let sha256 = token.sha256();
        if let Some(known) = self.consumed.insert(consumption.id, sha256) {
            return match known == sha256 {
                true => Ok(()),
                false => Err(format!("the consumption {} was changed under its id", consumption.id)),
            };
        }
        let enough = self.left() >= consumption.quantity;
        if enough {
            self.used += consumption.quantity;
        }
        self.consumed_sequence = self.consumed_sequence.max(consumption.sequence);
        let receipt = ConsumptionReceipt {
            id: ReceiptId(Sha256::of(consumption.id.0).0[..16].try_into().expect("16 bytes")),
            server: self.key.id(),
            game: game(),
            account: consumption.account.clone(),
            issued_at: self.time,
            feed: self.feed.len() as u64 + 1,
            consumption: consumption.id,
            consumption_sha256: sha256,
            device: consumption.device,
            item: consumption.item.clone(),
            quantity: consumption.quantity,
            status: if enough { ConsumptionStatus::Consumed } else { ConsumptionStatus::Refused },
            reason: (!enough).then_some(ConsumptionReason::NotEnough),
        };
        self.feed.push(receipt.sign(&self.key).map_err(|error| error.to_string())?);
        Ok(())
    }

    /// The account of the first key, or the one that was joined.
    pub(super) fn account(&self) -> AccountId {
        if let Some(joined) = &self.joined {
            return joined.clone();
        }
        let first = self.revoked.first().or(self.device.as_ref());
        first.unwrap_or(&self.key.public()).id().guest_account()
    }

    /// The id of the key that is not revoked.
    pub(super) fn device(&self) -> Option<KeyId> {
        self.device.map(|key| key.id())
    }

    pub(super) fn is_joined(&self) -> bool {
        self.joined.is_some()
    }

    pub(super) fn is_key_replaced(&self) -> bool {
        !self.revoked.is_empty()
    }

    /// The device joins another account, and what its own has moves along, unless another device is left in that. Once.
    fn join(&mut self, device: KeyId) -> Result<(), String> {
        if self.joined.is_some() {
            return Ok(());
        }
        let account = SecretKey::from_seed(&[55; 32]).id().guest_account();
        self.joined = Some(account.clone());
        self.feed.clear();
        let granted = std::mem::take(&mut self.granted);
        if self.is_left_to_another {
            (self.sold, self.used) = (0, 0);
            self.consumed.clear();
            return Ok(());
        }
        for last in granted {
            let id = ReceiptId(Sha256::of([&last.id.0[..], b"moved"].concat()).0[..16].try_into().expect("16 bytes"));
            let feed = self.feed.len() as u64 + 1;
            let moved = Receipt { id, account: account.clone(), feed, reason: Some(Reason::Moved), ..last };
            self.feed.push(moved.sign(&self.key).map_err(|error| error.to_string())?);
            self.granted.push(moved);
        }
        if self.used > 0 {
            let used_before = ConsumptionReceipt {
                id: ReceiptId([55; 16]),
                server: self.key.id(),
                game: game(),
                account,
                issued_at: self.time,
                feed: self.feed.len() as u64 + 1,
                consumption: ConsumptionId([55; 16]),
                consumption_sha256: Sha256::of("used before"),
                device,
                item: "shield".parse().expect("a name"),
                quantity: self.used,
                status: ConsumptionStatus::Consumed,
                reason: Some(ConsumptionReason::Moved),
            };
            self.feed.push(used_before.sign(&self.key).map_err(|error| error.to_string())?);
        }
        Ok(())
    }

    fn answer_question(&mut self, token: &Token) -> Result<Response, String> {
        let asker = AccountRequest::claimed_device(token).map_err(|error| error.to_string())?;
        let mut keys = self.revoked.iter().chain(&self.device);
        let Some(&key) = keys.find(|key| key.id() == asker) else { return Ok(problem("unknown-device", 404)) };
        let question =
            AccountRequest::verify(token, key, &game()).map_err(|error| format!("a bad question: {error}"))?;
        let mut device = asker;
        if let AccountAsk::JoinByCode { .. } = question.ask {
            self.join(device)?;
        }
        if let AccountAsk::ReplaceKey { enrolment } = question.ask {
            let (new, _) = enrolment
                .verify_into(&self.account(), &game())
                .map_err(|error| format!("the new key does not say so itself: {error}"))?;
            let is_done = self.revoked.last() == Some(&key) && self.device == Some(new);
            if self.revoked.contains(&key) && !is_done {
                return Ok(problem("device-revoked", 403));
            }
            if !is_done {
                self.revoked.extend(self.device.replace(new));
                self.chain = None;
            }
            device = new.id();
        }
        let revoked = self.device() != Some(device);
        let entry = DeviceEntry { id: device, name: None, enrolled_at: 0, revoked, frozen: false };
        let answer = AccountResponse {
            server: self.key.id(),
            account: self.account(),
            game: game(),
            issued_at: self.time,
            request_sha256: token.sha256(),
            device,
            signed_in: false,
            devices: vec![entry],
            chain: self.chain,
            link_code: None,
        };
        let token = answer.sign(&self.key).map_err(|error| error.to_string())?;
        Ok(Response { status: 200, retry_after: None, body: token.as_str().as_bytes().to_vec() })
    }

    fn settle(&mut self, token: &Token, order: &Order) -> Result<Token, String> {
        let sha256 = token.sha256();
        if let Some((known, receipt)) = self.answers.get(&order.id) {
            return match *known == sha256 {
                true => Ok(receipt.clone()),
                false => Err(format!("the order {} was changed under its id", order.id)),
            };
        }
        let follows = match self.chain {
            None => order.sequence == 1 && order.previous.is_none(),
            Some(head) => order.sequence == head.sequence + 1 && order.previous == Some(head.order_sha256),
        };
        let status = if follows { Status::Granted } else { Status::Declined };
        if follows {
            self.chain = Some(ChainHead { sequence: order.sequence, order_sha256: sha256 });
            *self.charged.entry(order.id).or_default() += 1;
        }
        let quantity = u64::from(order.quantity);
        let amount = order.price.checked_mul(order.quantity).ok_or("a price that is too high")?;
        self.sold += if follows { quantity } else { 0 };
        let grant = Grant::Item { item: "shield".parse().expect("a name"), quantity };
        let receipt = Receipt {
            id: ReceiptId(Sha256::of(order.id.0).0[..16].try_into().expect("16 bytes")),
            server: self.key.id(),
            game: game(),
            account: order.account.clone(),
            issued_at: self.time,
            feed: self.feed.len() as u64 + 1,
            order: order.id,
            order_sha256: sha256,
            status,
            reason: (!follows).then_some(Reason::ChainBroken),
            product: order.product.clone(),
            quantity: order.quantity,
            amount,
            grants: if follows { vec![grant] } else { Vec::new() },
        };
        let signed = receipt.sign(&self.key).map_err(|error| error.to_string())?;
        self.granted.extend(follows.then_some(receipt));
        self.feed.push(signed.clone());
        self.answers.insert(order.id, (sha256, signed.clone()));
        Ok(signed)
    }
}

fn problem(kind: &str, status: u16) -> Response {
    let body = format!(r#"{{"type":"/problems/{kind}","title":"x","status":{status},"detail":"x"}}"#);
    Response { status, retry_after: None, body: body.into_bytes() }
}
