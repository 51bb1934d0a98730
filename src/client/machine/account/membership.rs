//! Which account this device belongs to, and what changes when it is another one, or the device's key is.

use std::collections::BTreeSet;
use std::mem;
use std::time::Duration;

use super::Asking;
use crate::client::account::AccountView;
use crate::client::inventory::Inventory;
use crate::client::machine::orders::OpenOrders;
use crate::client::machine::syncing::Link;
use crate::client::machine::{Machine, OrderState, Output, PlacedOrder};
use crate::client::record::Signed;
use crate::client::seal::Sealer;
use crate::client::seeded::{Bug, seeded};
use crate::client::view::Update;
use crate::protocol::account::IssuedLinkCode;
use crate::protocol::sync::ChainHead;
use crate::protocol::{
    AccountId, AccountResponse, DeviceEntry, KeyId, Order, OrderId, SecretKey, Sha256, Token, envelope,
};

/// What is known of the account and of the device's place in it.
#[derive(Debug, Default)]
pub(in crate::client::machine) struct Membership {
    known: Known,
    pub(super) link_code: Option<IssuedLinkCode>,
    /// The answers that say how the device and its key came to the account, by their digests, and the last one: what the
    /// next start needs.
    path: Vec<Sha256>,
    last: Option<Sha256>,
    /// The one of them by which the device joined the account; none if it began with it.
    pub(in crate::client::machine) joined: Option<Sha256>,
    /// Whether the journal does not surely say which account the device belongs to, and the server has not said it since.
    pub(in crate::client::machine) is_place_unknown: bool,
    /// Those whose place this device took.
    former_devices: BTreeSet<KeyId>,
    /// Orders that were signed for another account, or by another key, and that nothing has answered. They are not sent.
    former_orders: Vec<PlacedOrder>,
    /// Those of them that are for an account of which the journal has said nothing yet.
    strays: Vec<Stray>,
    /// Those that were told to have come to nothing, and that stay in the journal until the game has heard it.
    ended_orders: Vec<OrderId>,
    /// The key that is to take the place of the device's.
    pub(in crate::client::machine) next_key: Option<SecretKey>,
    /// Whether the server has said that it does not know that key.
    pub(super) is_next_key_unknown: bool,
    /// Whether that key is the device's already, and the storage has yet to put it there.
    pub(super) is_key_to_take: bool,
    pub(super) asking: Option<Asking>,
    /// What to ask by itself, since the server refused this device.
    pub(super) doubt: Option<Doubt>,
    /// Whether the game was told that the server does not know this device any more.
    pub(super) is_told_unknown: bool,
    /// What is to be said and done about all this in the end.
    pub(in crate::client::machine) news: Vec<Output>,
}

/// What the server says of an account besides its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    signed_in: bool,
    revoked: bool,
    devices: Vec<DeviceEntry>,
}

/// An order of this device for an account of which the journal has said nothing yet: where damage took the word of it, it
/// may be the account of now; or with a key of which the journal has not said that it is the device's. When the server says
/// that it is, the order is written once more with that answer: then, and only then, it is to be sent.
#[derive(Clone, Debug)]
pub(in crate::client::machine) struct Stray {
    order: Order,
    signed: Signed,
    is_written_again: bool,
}

/// With whose signature to ask where this device belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client::machine) enum Doubt {
    ThisKey,
    /// The device's key was perhaps replaced by this one, and the answer was lost.
    NextKey,
}

/// The number of the order that follows the last one of a chain, and the digest that it names.
pub(in crate::client::machine) fn next_in(chain: Option<ChainHead>) -> (u64, Option<Sha256>) {
    (chain.map_or(1, |head| head.sequence.saturating_add(1)), chain.map(|head| head.order_sha256))
}

impl Known {
    fn new(claims: &AccountResponse) -> Self {
        Self { signed_in: claims.signed_in, revoked: claims.is_revoked(), devices: claims.devices.clone() }
    }
}

impl Stray {
    pub(in crate::client::machine) fn id(&self) -> OrderId {
        self.order.id
    }

    /// The head of the chain in which it is the last order.
    pub(in crate::client::machine) fn head(&self) -> ChainHead {
        ChainHead { sequence: self.order.sequence, order_sha256: self.signed.token().sha256() }
    }

    pub(in crate::client::machine) fn signed(&self) -> &Signed {
        &self.signed
    }

    fn is_of(&self, claims: &AccountResponse) -> bool {
        self.order.account == claims.account && self.order.device == claims.device
    }
}

impl Membership {
    pub(in crate::client::machine) fn is_revoked(&self) -> bool {
        self.known.revoked
    }

    /// Whether this device was revoked while there is a key that the server may know in its place.
    pub(in crate::client::machine) fn is_revoked_beside_a_next_key(&self) -> bool {
        self.is_revoked() && self.is_next_key_in_question()
    }

    pub(super) fn is_next_key_in_question(&self) -> bool {
        self.next_key.is_some() && !self.is_next_key_unknown
    }

    /// Whether a journal needs this answer at the next start.
    fn needs(&self, sha256: Sha256) -> bool {
        self.last == Some(sha256) || self.path.contains(&sha256)
    }
}

impl Machine {
    /// The account as the server last said.
    pub fn account_view(&self) -> AccountView {
        let Membership { known, link_code, .. } = &self.membership;
        AccountView {
            account: self.account.clone(),
            device: self.device,
            signed_in: known.signed_in,
            revoked: known.revoked,
            devices: known.devices.clone(),
            link_code: *link_code,
        }
    }

    /// Whether an answer says anything that the journal does not.
    pub(super) fn is_account_news(&self, claims: &AccountResponse) -> bool {
        claims.account != self.account || claims.device != self.device || Known::new(claims) != self.membership.known
    }

    /// From here on the device belongs where an answer says, which is in the journal.
    pub(in crate::client::machine) fn enter(&mut self, claims: &AccountResponse, token: &Token) {
        let is_joined = claims.account != self.account;
        let is_replaced = claims.device != self.device;
        if is_replaced {
            self.change_device(claims.device);
        }
        if is_joined {
            self.begin_anew(claims.account.clone());
            self.membership.joined = Some(token.sha256());
        }
        if is_joined || is_replaced {
            self.renew_sealer();
            self.membership.path.push(token.sha256());
        }
        self.membership.last = Some(token.sha256());
        self.membership.known = Known::new(claims);
        let was_unknown = mem::take(&mut self.membership.is_place_unknown);
        self.enrolled = true;
        // All of them are of the device's chain, whatever becomes of them.
        let strays = self.membership.strays.iter().filter(|stray| stray.is_of(claims));
        let mut signed: Vec<_> = strays.map(|stray| stray.signed.clone()).collect();
        self.place_strays(claims);
        if is_joined || is_replaced || was_unknown {
            signed.extend(self.orders.unanswered().map(|(_, signed)| signed.clone()));
            self.follow_from(claims.chain, &signed);
        }
        self.mark_revoked();
    }

    /// The next order follows the last one that the server has settled, or what was signed after it, in its order.
    fn follow_from(&mut self, settled: Option<ChainHead>, signed: &[Signed]) {
        let mut chain = if seeded(Bug::FollowLeft) { self.chain } else { settled.or(self.chain) };
        for signed in signed {
            let token = signed.token();
            if let Ok(order) = envelope::claims_of_stored::<Order>(&token)
                && (order.sequence, order.previous) == next_in(chain)
            {
                chain = Some(ChainHead { sequence: order.sequence, order_sha256: token.sha256() });
            }
        }
        self.chain = chain;
    }

    pub(in crate::client::machine) fn renew_sealer(&mut self) {
        self.sealer = Sealer::new(&self.key, &self.settings.game, &self.account, &self.keys.all());
    }

    /// The journal does not surely say where this device belongs: the server is asked before anything else, and its answer is
    /// news.
    pub(in crate::client::machine) fn doubt_its_place(&mut self) {
        self.membership.known.devices.clear();
        self.membership.doubt = Some(Doubt::ThisKey);
        self.link = Link::Waiting { until: Duration::ZERO, again: None, trouble: String::new() };
    }

    /// Takes the place of the device so far. While a journal is read, that can be one whose key is gone.
    pub(in crate::client::machine) fn change_device(&mut self, device: KeyId) {
        let next = &mut self.membership.next_key;
        if let Some(key) = next.take_if(|next| next.id() == device) {
            self.key = key;
            self.membership.is_key_to_take = true;
            self.membership.news.push(Output::TakeNextKey);
            // Its seals are another's.
            self.compaction_wanted = true;
        }
        self.membership.former_devices.insert(mem::replace(&mut self.device, device));
        self.leave_orders();
        self.refuse_pending();
        self.consumptions.last = 0;
        self.chain = None;
        self.allowance = None;
    }

    /// Forgets what the account so far has. Everything of the new one comes from its feed.
    fn begin_anew(&mut self, account: AccountId) {
        self.account = account;
        self.leave_orders();
        self.orders = OpenOrders::default();
        self.settled.clear();
        self.refuse_pending();
        self.uncounted.clear();
        self.inventory = Inventory::default();
        self.withheld.clear();
        self.allowance = None;
        self.wallet.clear();
        self.cursor = 0;
        self.receipts = 0;
        self.membership.path.clear();
        self.membership.link_code = None;
    }

    /// Puts the orders aside that were to be sent: what is given for them before their receipt is no longer.
    fn leave_orders(&mut self) {
        let left: Vec<_> = self.orders.unanswered().map(|(id, _)| id).collect();
        for id in left {
            let Some(open) = self.orders.remove(id) else { continue };
            // Nothing settles it any more, so nothing follows it. What the next one does, the server says.
            self.chain = self.chain.filter(|head| head.order_sha256 != open.sha256 || seeded(Bug::FollowLeft));
            if let Some(bundle) = open.provisional {
                self.inventory.take_back(id, bundle, true);
            }
            if !seeded(Bug::ForgetLeft) {
                self.put_aside(open.order);
            }
        }
    }

    /// Puts an order aside that is not to be sent.
    pub(in crate::client::machine) fn put_aside(&mut self, mut order: PlacedOrder) {
        order.provisional = false;
        order.trouble = Some("it was ordered for another account than that of now, and is not sent".to_owned());
        self.membership.former_orders.push(order);
    }

    /// Puts an order aside that is for an account of which the journal has said nothing yet; or it is the same one again.
    pub(in crate::client::machine) fn put_stray_aside(&mut self, order: Order, signed: Signed) {
        self.membership.is_place_unknown = true;
        if let Some(stray) = self.membership.strays.iter_mut().find(|stray| stray.order.id == order.id) {
            stray.is_written_again = true;
        } else if !self.is_put_aside(order.id) {
            self.put_aside(PlacedOrder::signed(order.clone()));
            self.membership.strays.push(Stray { order, signed, is_written_again: false });
        }
    }

    /// The orders of this device for the account of an answer of which the journal has said nothing yet.
    pub(in crate::client::machine) fn strays_of(&self, claims: &AccountResponse) -> impl Iterator<Item = &Signed> {
        self.membership.strays.iter().filter(|stray| stray.is_of(claims)).map(|stray| &stray.signed)
    }

    /// An answer is durable, and with it the orders that are for its account.
    pub(super) fn strays_are_written_again(&mut self, claims: &AccountResponse) {
        let own = self.membership.strays.iter_mut().filter(|stray| stray.is_of(claims));
        own.for_each(|stray| stray.is_written_again = true);
    }

    /// Orders that were written again for the account of now are to be sent. All others are for another for good.
    fn place_strays(&mut self, claims: &AccountResponse) {
        for stray in mem::take(&mut self.membership.strays) {
            if stray.is_written_again && stray.is_of(claims) {
                self.open_stray(stray);
            }
        }
    }

    /// The orders that were put aside and that are of this very device for this very account: the server's answer to a sync
    /// says that it is.
    pub(in crate::client::machine) fn own_strays(&self) -> impl Iterator<Item = &Stray> {
        let is_own = |stray: &&Stray| stray.order.device == self.device && stray.order.account == self.account;
        self.membership.strays.iter().filter(is_own)
    }

    /// An order that was put aside is to be sent after all.
    pub(in crate::client::machine) fn open_stray(&mut self, Stray { order, signed, .. }: Stray) {
        self.not_put_aside(order.id);
        let (sha256, allowance) = (signed.token().sha256(), order.allowance.map(|allowance| allowance.id));
        self.open_order(PlacedOrder::signed(order), sha256, Some(signed), None, allowance);
    }

    /// An order was answered, in whichever account, or is among those that are to be sent, whatever was said of it before.
    pub(in crate::client::machine) fn not_put_aside(&mut self, id: OrderId) {
        self.membership.strays.retain(|stray| stray.order.id != id);
        self.membership.former_orders.retain(|former| former.id != id);
    }

    /// Drops what was used up and not answered: it was signed for another account, or by another key, so the server would
    /// refuse it, and it is told as if it had.
    fn refuse_pending(&mut self) {
        let refused = self.drop_pending(|_| true);
        self.membership.news.extend(refused.into_iter().map(Output::Tell));
    }

    /// Says of the orders that are to be sent that they cannot be any more, if this device was revoked.
    fn mark_revoked(&mut self) {
        if !self.membership.is_revoked() {
            return;
        }
        let orders: Vec<_> = self.orders.unanswered().map(|(id, _)| id).collect();
        for id in orders {
            if let Some(open) = self.orders.get_mut(id) {
                open.order.trouble = Some("this device was removed from its account, so it is not sent".to_owned());
                self.membership.news.push(Output::Tell(Update::Order(open.order.clone())));
            }
        }
    }

    /// The feed was read to its end: what is not in it of the orders that were put aside never will be.
    pub(in crate::client::machine) fn forget_former_orders(&mut self) {
        if self.membership.former_orders.is_empty() {
            return;
        }
        for mut order in self.unanswered_former_orders() {
            order.state = OrderState::NotSaved;
            order.trouble = Some(
                "it was ordered for another account than that of now, and is not in this one; if it was bought, it is \
                 in the other"
                    .to_owned(),
            );
            self.membership.ended_orders.push(order.id);
            self.membership.news.push(Output::Tell(Update::Order(order)));
        }
        self.membership.former_orders.clear();
        self.membership.strays.clear();
        if seeded(Bug::ForgetLeftUntold) {
            self.told();
        }
    }

    /// The game has heard everything that it was told: what has come to nothing need not be told again at the next start.
    pub fn told(&mut self) {
        self.compaction_wanted |= !mem::take(&mut self.membership.ended_orders).is_empty();
    }

    /// The orders that were put aside, oldest first, but for those that the feed has answered since.
    pub(in crate::client::machine) fn unanswered_former_orders(&self) -> Vec<PlacedOrder> {
        let is_answered = |order: &&PlacedOrder| self.settled.contains_key(&order.id) || self.orders.contains(order.id);
        self.membership.former_orders.iter().filter(|order| !is_answered(order)).cloned().collect()
    }

    /// Whether a journal that is written anew needs this answer.
    pub(in crate::client::machine) fn is_answer_needed(&self, token: &Token) -> bool {
        self.membership.needs(token.sha256())
    }

    /// Whether any order is put aside: which account it was for is in the answers.
    pub(in crate::client::machine) fn is_any_put_aside(&self) -> bool {
        !self.membership.former_orders.is_empty() || !self.membership.ended_orders.is_empty()
    }

    /// Whether an order is of before this device joined its account, or took the place of another.
    pub(in crate::client::machine) fn is_of_before(&self, order: &Order) -> bool {
        order.account != self.account || self.membership.former_devices.contains(&order.device)
    }

    /// Whether orders were put aside that nobody has been told the end of.
    pub(in crate::client::machine) fn has_former_orders(&self) -> bool {
        !self.membership.former_orders.is_empty()
    }

    /// Whether an order is one of those that were put aside, whose end the game has not heard yet.
    pub(in crate::client::machine) fn is_put_aside(&self, id: OrderId) -> bool {
        let Membership { former_orders, ended_orders, .. } = &self.membership;
        ended_orders.contains(&id) || former_orders.iter().any(|former| former.id == id)
    }

    pub(in crate::client::machine) fn was_this_device(&self, device: KeyId) -> bool {
        device == self.device || self.membership.former_devices.contains(&device)
    }
}
