//! One request at a time to the server, retried with the same bytes, and what its answers may change.

use std::time::Duration;

use super::account::{Question, Stray};
use super::appending::Answered;
use super::{CLOCK_TOLERANCE, Machine, OrderState, Output, ServerClock, Settings, SignedReceipt, Tick, Waiting};
use crate::client::record::{Follow, Synced};
use crate::client::seeded::{Bug, seeded};
use crate::client::transport::{Request, Response};
use crate::client::view::Connection;
use crate::protocol::problem::Problem;
use crate::protocol::sync::{Enrolment, MAX_ORDERS, SyncError, SyncRequest, SyncResponse};
use crate::protocol::{
    ConsumptionId, EnvelopeError, FeedReceipt, OrderId, ProblemType, Reason, ReceiptId, Token, TrustedKeys, UnixSeconds,
};

/// The longest that a server's `Retry-After` is obeyed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// The shortest wait before a server is asked again that does not know a device of an account which it joined.
const SELDOM: Duration = Duration::from_secs(600);

/// In seconds.
const DAY: UnixSeconds = 86_400;

/// The way to the server.
#[derive(Clone, Debug)]
pub(super) enum Link {
    /// No request is made.
    Idle,
    /// A device's enrolment is under way; `then` is sent after it.
    Enrolling { then: Option<Sync> },
    /// A sync is under way.
    Syncing(Sync),
    /// The last request failed: wait, then enrol if the device is unknown, then send `again`.
    Waiting { until: Duration, again: Option<Sync>, trouble: String },
    /// A question about the account is under way.
    Asking(Question),
    /// What the last answer said waits to become durable.
    Storing,
}

/// A sync, with the bytes that every retry repeats.
#[derive(Clone, Debug)]
pub(super) struct Sync {
    token: Token,
    orders: Vec<OrderId>,
    /// The last consumption in it.
    consumed: Option<ConsumptionId>,
    /// Whether the server may hold its answer until there is news.
    pub(super) waits: bool,
    pub(super) sent_at: Duration,
}

impl Machine {
    /// Sends the next request, if it is time for one.
    pub(super) fn send_next(&mut self, tick: Tick, outputs: &mut Vec<Output>) {
        if self.offline || self.settings.server_keys.is_empty() || !self.access.may_write() {
            return;
        }
        self.give_up_waiting(tick);
        if self.ask_next(tick, outputs) || self.membership.is_revoked() {
            return;
        }
        let again = match &mut self.link {
            Link::Idle if self.sync_wanted || tick.elapsed >= self.next_poll => None,
            Link::Waiting { until, again, .. } if tick.elapsed >= *until => again.take(),
            _ => return,
        };
        let request = if self.enrolled { self.sync(again, tick, outputs) } else { self.enrol(again, tick) };
        match request {
            Ok(request) => outputs.push(Output::Send(request)),
            Err(trouble) => self.failed(&trouble, None, tick),
        }
    }

    fn enrol(&mut self, then: Option<Sync>, tick: Tick) -> Result<Request, String> {
        let enrolment =
            Enrolment::sign(&self.key, &self.settings.game, tick.unix).map_err(|error| error.to_string())?;
        let body = serde_json::to_vec(&enrolment).map_err(|error| error.to_string())?;
        self.link = Link::Enrolling { then };
        let hold = Duration::ZERO;
        Ok(Request { path: "/v1/devices", content_type: "application/json", body: body.into(), hold })
    }

    fn sync(&mut self, again: Option<Sync>, tick: Tick, outputs: &mut Vec<Output>) -> Result<Request, String> {
        let sync = match again {
            Some(sync) => sync,
            None => self.new_sync(tick)?,
        };
        for &id in &sync.orders {
            if self.orders.get(id).is_some_and(|open| open.order.state == OrderState::Queued) {
                self.update(id, outputs, |order| order.state = OrderState::Sent);
            }
        }
        let body = sync.token.as_str().as_bytes().into();
        let hold = Self::hold(sync.waits);
        self.link = Link::Syncing(sync);
        self.sync_sent();
        Ok(Request { path: "/v1/sync", content_type: "application/jose", body, hold })
    }

    fn new_sync(&mut self, tick: Tick) -> Result<Sync, String> {
        let batch = self.orders.unanswered().take(MAX_ORDERS);
        let mut batch: Vec<_> = batch.map(|(id, signed)| (id, signed.token())).collect();
        if seeded(Bug::NewestFirst) {
            batch.reverse();
        }
        let (orders, tokens) = batch.into_iter().unzip();
        let request = SyncRequest {
            device: self.device,
            account: self.account.clone(),
            game: self.settings.game.clone(),
            issued_at: tick.unix,
            id: ReceiptId(tick.random),
            cursor: self.cursor,
            orders: tokens,
            keys: self.keys.number(),
            allowance: self.wanted_allowance(),
            consumptions: self.consumptions.to_send().cloned().collect(),
            wait: self.wait_for_news(),
        };
        self.sync_wanted = false;
        let token = request.sign(&self.key).map_err(|error| error.to_string())?;
        let consumed = self.consumptions.last_to_send();
        if request.wait.is_some() {
            self.next_poll = Duration::MAX;
        }
        Ok(Sync { token, orders, consumed, waits: request.wait.is_some(), sent_at: tick.elapsed })
    }

    /// The server, or somebody in its place, answered.
    pub(super) fn answered(&mut self, response: &Response, tick: Tick) {
        if let Link::Asking(question) = &self.link {
            return self.question_answered(question.clone(), response, tick);
        }
        if !matches!(self.link, Link::Enrolling { .. } | Link::Syncing(_)) {
            // It was given up.
            return;
        }
        if !(200..300).contains(&response.status) {
            let problem: Option<Problem> = serde_json::from_slice(&response.body).ok();
            let is_unknown = problem.as_ref().is_some_and(|it| it.kind == ProblemType::UnknownDevice.as_str());
            let seldom = (is_unknown && !self.enrol_again()).then_some(SELDOM);
            if seeded(Bug::TrustRefusals) && matches!(response.status, 402 | 403) {
                self.orders.forget_unanswered();
            }
            self.sync_refused(problem.as_ref());
            let refused = (400..500).contains(&response.status) && self.enrolled;
            if refused && matches!(self.link, Link::Syncing(_)) {
                // The same bytes would be refused again. A new request is safe: an order's id is charged once.
                self.link = Link::Idle;
            }
            let detail = problem.map_or(String::new(), |problem| format!(": {}", problem.detail));
            let trouble = format!("the server answered with status {}{detail}", response.status);
            return self.failed(&trouble, seldom.max(response.retry_after), tick);
        }
        match std::mem::replace(&mut self.link, Link::Idle) {
            Link::Enrolling { then } => {
                self.enrolled = true;
                self.link = Link::Waiting { until: tick.elapsed, again: then, trouble: String::new() };
            }
            Link::Syncing(sync) => match self.read_answer(&sync, response) {
                Ok(answered) => {
                    self.next_poll = self.next_poll_after(&sync, self.is_news(&answered), tick);
                    self.send_the_rest(sync.consumed, tick);
                    let heard = answered.synced.server_time;
                    self.server_clock = Some(ServerClock { unix: heard, heard: tick.elapsed, device: tick.unix });
                    if self.is_news(&answered) {
                        self.link = Link::Storing;
                        // Before anything that waits to be signed: it may say what the next order follows.
                        self.waiting.push_front(Waiting::Receipts(Box::new(answered)));
                    } else {
                        self.failures = 0;
                        self.synced_without_news();
                    }
                }
                Err(trouble) => {
                    self.link = Link::Syncing(sync);
                    self.failed(&trouble, None, tick);
                }
            },
            other => self.link = other,
        }
    }

    /// Verifies an answer and everything in it. Believes all of it or nothing.
    fn read_answer(&mut self, sync: &Sync, response: &Response) -> Result<Answered, String> {
        let token = self.signed_text(response)?;
        let (as_of, vouched) = (self.keys.as_of(self.heard()), self.keys.vouched());
        let keys: &dyn TrustedKeys = if seeded(Bug::BelieveRevoked) { &vouched } else { &as_of };
        let answer = SyncResponse::verify(&token, keys, &self.account, &self.settings.game, &sync.token)
            .map_err(|error| not_believed(&error))?;
        let (mut receipts, mut consumptions) = (Vec::new(), Vec::new());
        // A cursor that goes back says that the feed begins again.
        let from = if answer.cursor < self.cursor { 0 } else { self.cursor };
        for token in &answer.receipts {
            let read = FeedReceipt::verify_for(token, &self.keys.vouched(), &self.settings.game, &self.account)
                .map_err(|error| format!("a receipt is not believed: {error}"))?;
            let claims = match read {
                FeedReceipt::Order(claims) => claims,
                FeedReceipt::Consumption(claims) => {
                    if !self.answers_what_was_consumed(&claims) {
                        let id = claims.consumption;
                        return Err(format!("a receipt for the consumption {id} answers another one than was signed"));
                    }
                    if self.is_uncounted_consumption(from, &claims) {
                        consumptions.push((claims, token.clone()));
                    }
                    continue;
                }
            };
            if !self.answers_what_was_signed(claims.order, claims.order_sha256) {
                return Err(format!("a receipt for the order {} answers another order than was signed", claims.order));
            }
            if self.is_news_for(claims.order, claims.feed)
                || claims.status.is_final() && self.is_uncounted_order(from, claims.feed, claims.order)
            {
                receipts.push(SignedReceipt { claims, token: token.clone() });
            }
        }
        // The answers to what was sent come before the feed, in which they may be again.
        receipts.sort_by_key(|receipt| receipt.claims.feed);
        receipts.dedup_by_key(|receipt| receipt.claims.id);
        let broken = receipts.iter().any(|receipt| receipt.claims.reason == Some(Reason::ChainBroken));
        let behind = answer.chain.map(|head| head.sequence) > self.chain.map(|head| head.sequence);
        // Orders for an account that this device has left were signed, and are never sent.
        let ahead = answer.chain.map(|head| head.sequence) < self.chain.map(|head| head.sequence);
        let left = ahead && self.has_former_orders();
        // A copied or rolled-back save goes on from where the server is, once nothing signed is left unanswered.
        let all_answered = self.orders.unanswered().all(|(id, _)| receipts.iter().any(|it| it.claims.order == id));
        let meaning = self.appending.iter().flat_map(|appending| &appending.meaning);
        let signing = meaning.into_iter().any(|it| matches!(it, Waiting::SignedOrder { .. }));
        let is_off_chain = broken || behind || left;
        let is_answered = |stray: &&Stray| receipts.iter().any(|it| it.claims.order == stray.id());
        let own: Vec<_> = self.own_strays().filter(|stray| !is_answered(stray)).cloned().collect();
        // The server has yet to be sent those that it is not beyond.
        let is_ahead = |stray: &Stray| Some(stray.head().sequence) > answer.chain.map(|head| head.sequence);
        let nothing_is_left = all_answered && !signing && !own.iter().any(is_ahead);
        let follows = is_off_chain && nothing_is_left && !seeded(Bug::NeverFollow);
        let follow = follows.then_some(Follow { last: answer.chain });
        let consumed_sequence = Some(answer.consumed_sequence).filter(|last| *last > self.consumptions.last);
        let synced = Synced {
            cursor: answer.cursor,
            wallet: answer.wallet,
            server_time: answer.issued_at,
            follow,
            consumed_sequence,
        };
        let keys = self.unsaved_keys();
        // Within an allowance an order in a place that is taken would be spent a second time: not before it is known what
        // the next one follows. After damage that, and what is spent already, may be known from orders alone that are not
        // answered yet. The server gives the same one again.
        let is_known = self.allowance.is_some() || nothing_is_left;
        let may_spend = is_known && (!is_off_chain || follow.is_some());
        let allowance = self.new_allowance(&answer.allowances)?.filter(|_| may_spend);
        Ok(Answered { keys, receipts, consumptions, allowance, own, synced, more: answer.more })
    }

    /// The signed text of an answer; a list of keys before it is taken.
    pub(super) fn signed_text(&mut self, response: &Response) -> Result<Token, String> {
        let text = std::str::from_utf8(&response.body).map_err(|_| "the answer is not text".to_owned())?;
        Ok(Token::from_text(match text.split_once('\n') {
            Some((list, text)) => {
                // A root's own word, whatever comes of the rest.
                self.learn(&Token::from_text(list))?;
                text
            }
            None => text,
        }))
    }

    /// The list of keys that counts, if it is not in the journal.
    pub(super) fn unsaved_keys(&self) -> Option<Token> {
        self.keys.list().filter(|_| self.keys.number() > self.keys_saved).cloned()
    }

    /// Takes a list of keys, if it is newer than what is known.
    pub(super) fn learn(&mut self, list: &Token) -> Result<(), String> {
        let game = &self.settings.game;
        let newer = self.keys.learn(list, game).map_err(|error| format!("a list of keys is not believed: {error}"))?;
        if newer {
            self.renew_sealer();
        }
        Ok(())
    }

    /// Whether an answer says anything that the journal does not: most polls bring nothing, and must cost no disk.
    fn is_news(&self, answered: &Answered) -> bool {
        let Answered { keys, receipts, consumptions, allowance, own, synced, more } = answered;
        let same = synced.cursor == self.cursor && synced.wallet == self.wallet && synced.follow.is_none();
        keys.is_some()
            || allowance.is_some()
            || !receipts.is_empty()
            || !consumptions.is_empty()
            || !own.is_empty()
            || synced.consumed_sequence.is_some()
            || !same
            || *more
            || self.is_late(synced.server_time)
    }

    /// Whether the server's time should be known at the next start: it is another day, or it went back, or a key came to
    /// its end, which must stay so.
    fn is_late(&self, heard: UnixSeconds) -> bool {
        let known = self.server_time;
        let same_day = (known.saturating_sub(CLOCK_TOLERANCE)..known.saturating_add(DAY)).contains(&heard);
        !same_day || self.keys.end_between(known, heard)
    }

    /// The request under way, if it was not given up, had no answer.
    pub(super) fn not_answered(&mut self, trouble: &str, tick: Tick) {
        match &self.link {
            Link::Enrolling { .. } | Link::Syncing(_) => self.failed(trouble, None, tick),
            Link::Asking(question) => self.question_not_answered(question.clone(), trouble, tick),
            Link::Idle | Link::Waiting { .. } | Link::Storing => {}
        }
    }

    /// What came of a request was not an answer to believe: wait, and send the same bytes again.
    pub(super) fn failed(&mut self, trouble: &str, retry_after: Option<Duration>, tick: Tick) {
        let again = match std::mem::replace(&mut self.link, Link::Idle) {
            Link::Syncing(Sync { waits: true, .. }) => {
                // The next one does not wait, so that the game hears soon that all is well again.
                self.sync_wanted = true;
                None
            }
            Link::Syncing(sync) => Some(sync),
            Link::Enrolling { then } | Link::Waiting { again: then, .. } => then,
            Link::Idle | Link::Storing | Link::Asking(_) => {
                self.sync_wanted = true;
                None
            }
        };
        self.asking_failed(trouble);
        let wait = wait_after(self.failures, &self.settings, retry_after, tick);
        self.failures = self.failures.saturating_add(1);
        self.link = Link::Waiting { until: tick.elapsed + wait, again, trouble: trouble.to_owned() };
    }

    /// The receipts of the last answer are durable.
    pub(super) fn stored(&mut self) {
        self.failures = 0;
        self.synced();
        if matches!(self.link, Link::Storing) {
            self.link = Link::Idle;
        }
    }

    pub(super) fn sync_now(&mut self) {
        self.sync_wanted = true;
        if let Link::Waiting { until, .. } = &mut self.link {
            *until = Duration::ZERO;
        }
    }

    /// When to send next, if nothing happens before.
    pub(super) fn next_send(&self) -> Option<Duration> {
        if self.offline
            || self.settings.server_keys.is_empty()
            || !self.access.may_write()
            || self.membership.is_revoked() && !self.membership.is_revoked_beside_a_next_key()
        {
            return None;
        }
        match &self.link {
            Link::Idle => Some(self.next_question().map_or(self.next_poll, |at| at.min(self.next_poll))),
            Link::Syncing(_) if self.is_waiting_for_news() => {
                let next_poll = Some(self.next_poll).filter(|at| *at < Duration::MAX);
                [next_poll, self.next_question()].into_iter().flatten().min()
            }
            Link::Waiting { until, .. } => Some(*until),
            Link::Enrolling { .. } | Link::Syncing(_) | Link::Asking(_) | Link::Storing => None,
        }
    }

    pub(super) fn connection_now(&self) -> Connection {
        if !self.access.may_write() {
            return Connection::ReadOnly;
        }
        if self.settings.server_keys.is_empty() {
            return Connection::NoServer;
        }
        if self.membership.is_revoked() {
            return Connection::Revoked;
        }
        if self.offline {
            return Connection::Offline;
        }
        match &self.link {
            Link::Waiting { trouble, .. } if !trouble.is_empty() => Connection::Retrying { trouble: trouble.clone() },
            Link::Idle | Link::Storing if self.enrolled => Connection::Online,
            // It is only sent after one that was answered.
            Link::Syncing(sync) if sync.waits => Connection::Online,
            // What is known stays true until an answer says otherwise.
            _ if matches!(self.connection, Connection::Online | Connection::Retrying { .. }) => self.connection.clone(),
            _ => Connection::Connecting,
        }
    }
}

/// How long to wait after so many failures before this one.
pub(super) fn wait_after(failures: u32, settings: &Settings, retry_after: Option<Duration>, tick: Tick) -> Duration {
    let doubled = 2u32.saturating_pow(failures.min(16));
    let longest = settings.first_retry.saturating_mul(doubled).min(settings.longest_retry);
    jitter(longest, tick.random).max(retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER))
}

/// A wait between nothing and `longest`, chosen by random bits: "full jitter".
pub(super) fn jitter(longest: Duration, random: [u8; 16]) -> Duration {
    let share = u128::from(u32::from_be_bytes([random[0], random[1], random[2], random[3]]));
    let nanoseconds = longest.as_nanos() * share / u128::from(u32::MAX);
    Duration::from_nanos(nanoseconds.try_into().unwrap_or(u64::MAX))
}

/// Says that an answer is not believed, and what to do about it.
pub(super) fn not_believed(error: &SyncError) -> String {
    match error {
        SyncError::Envelope(EnvelopeError::UnknownKey(_)) => format!(
            "the answer is not believed: {error}; if this is the right server, put the key that `iap-server keys show` \
             prints into its `ServerAddress`"
        ),
        error => format!("the answer is not believed: {error}"),
    }
}
