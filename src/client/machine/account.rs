//! What the player asks about the account, and what the machine asks by itself when the server refuses this device.
//!
//! One question is asked at a time. One whose answer may change whom orders are signed for begins with a sync, so that
//! nothing that is signed is left unanswered, and so that a device without a connection is told so before anything
//! waits; until it is answered, or the first try has failed, what is ordered waits unsigned. A refusal is unsigned and
//! changes nothing: only the server's signed answer does, once it is in the journal. So whoever misses an answer is
//! refused at the next sync, asks where it belongs, and knows.

mod doubt;
mod membership;
mod waiting;

use std::time::Duration;

pub(super) use membership::{Doubt, Membership, Stray, next_in};
use waiting::Failure;

use super::syncing::{Link, not_believed};
use super::{Machine, Output, Tick, Waiting};
use crate::client::account::{AccountTrouble, AccountWish, Asked};
use crate::client::seeded::{Bug, seeded};
use crate::client::transport::{Request, Response};
use crate::client::view::Update;
use crate::protocol::account::AccountError;
use crate::protocol::problem::Problem;
use crate::protocol::sync::Enrolment;
use crate::protocol::{AccountAsk, AccountRequest, AccountResponse, ProblemType, ReceiptId, SecretKey, Token};

/// Something that the player asked, and how far it is.
#[derive(Debug)]
pub(super) struct Asking {
    wish: AccountWish,
    stage: Stage,
    /// Whether the game was told that no answer came, and that it is asked again.
    is_told: bool,
    /// How many tries have failed, and when the next one is due.
    failures: u32,
    retry_at: Duration,
    /// Whether a sync was sent since the last try.
    is_synced: bool,
    /// Whether the device was enrolled for it.
    is_enrolled: bool,
}

#[derive(Debug)]
enum Stage {
    /// A sync comes first. Whether one was answered since.
    Syncing(bool),
    /// The key is being made that is to take the place of the device's.
    MakingKey,
    /// It is to be sent.
    Ready,
    /// It was sent, with the bytes that every retry repeats.
    Sent(Token),
}

/// A question that is under way.
#[derive(Clone, Debug)]
pub(super) struct Question {
    token: Token,
    /// What the player asked; nothing, if the machine asks by itself.
    asked: Asked,
    /// Whether the answer is for the key that is to take the place of the device's.
    by_next_key: bool,
    /// How the failed sync is to be tried again that made the machine ask by itself.
    resume: Option<(Duration, String)>,
}

/// An answer about the account that is to become durable.
#[derive(Clone, Debug)]
pub(super) struct Learned {
    pub(super) claims: AccountResponse,
    pub(super) token: Token,
    /// A list of keys that is not in the journal yet.
    pub(super) keys: Option<Token>,
    asked: Asked,
    resume: Option<(Duration, String)>,
}

impl Machine {
    /// The player asks something.
    pub(super) fn ask(&mut self, wish: AccountWish) {
        let trouble = |words: &str| AccountTrouble::NoConnection { trouble: words.to_owned() };
        let trouble = if self.membership.asking.is_some() {
            Some(AccountTrouble::Busy)
        } else if !self.access.may_write() {
            Some(trouble("this copy of the game may not write"))
        } else if self.settings.server_keys.is_empty() {
            Some(trouble("no server is set"))
        } else if self.offline {
            Some(trouble("the game is offline"))
        } else {
            (self.membership.is_revoked() && wish != AccountWish::Devices).then_some(AccountTrouble::DeviceRevoked)
        };
        if let Some(trouble) = trouble {
            return self.tell_outcome(wish.asked(), Err(trouble));
        }
        let syncs_first = wish.holds_purchases(self.device);
        if syncs_first || !self.enrolled {
            self.sync_now();
        }
        let stage = if syncs_first { Stage::Syncing(false) } else { Stage::Ready };
        self.membership.asking = Some(Asking {
            wish,
            stage,
            is_told: false,
            failures: 0,
            retry_at: Duration::ZERO,
            is_synced: false,
            is_enrolled: false,
        });
    }

    fn tell_outcome(&mut self, asked: Asked, outcome: Result<(), AccountTrouble>) {
        let outcome = outcome.map(|()| Box::new(self.account_view()));
        self.membership.news.push(Output::Tell(Update::Account { asked, outcome }));
    }

    /// What was asked ends without having come about.
    fn end_asking(&mut self, trouble: AccountTrouble) {
        if let Some(asking) = self.membership.asking.take() {
            self.tell_outcome(asking.wish.asked(), Err(trouble));
        }
    }

    /// Sends the next question about the account, if its time has come. Says whether the way to the server is taken.
    pub(super) fn ask_next(&mut self, tick: Tick, outputs: &mut Vec<Output>) -> bool {
        let (resume, is_time) = match &self.link {
            Link::Idle => (None, true),
            Link::Waiting { until, trouble, .. } => (Some((*until, trouble.clone())), tick.elapsed >= *until),
            _ => return false,
        };
        let question = match (self.membership.doubt.take(), resume) {
            (Some(doubt), resume @ Some(_)) => self.question_of(doubt, resume, tick),
            _ if is_time && self.membership.is_revoked_beside_a_next_key() => self.question_of_the_next_key(tick),
            _ => self.question_of_the_player(is_time, tick),
        };
        match question {
            Ok(None) => false,
            Ok(Some(question)) => {
                if seeded(Bug::TakeKeyBeforeDurable) && question.asked == Asked::ReplaceKey {
                    outputs.push(Output::TakeNextKey);
                }
                // Whatever failed before is tried again after it.
                self.sync_wanted |= matches!(self.link, Link::Waiting { again: Some(_), .. });
                let body = question.token.as_str().as_bytes().into();
                let hold = Duration::ZERO;
                outputs.push(Output::Send(Request {
                    path: "/v1/account",
                    content_type: "application/jose",
                    body,
                    hold,
                }));
                self.link = Link::Asking(question);
                true
            }
            Err(trouble) => {
                self.end_asking(AccountTrouble::NoConnection { trouble });
                false
            }
        }
    }

    /// What the player asked, if it can be sent now; a retry only when `is_time_to_retry`.
    fn question_of_the_player(&mut self, is_time_to_retry: bool, tick: Tick) -> Result<Option<Question>, String> {
        let is_all_answered = self.is_all_answered();
        let is_sync_due = self.sync_wanted || tick.elapsed >= self.next_poll;
        let Some(asking) = self.membership.asking.as_mut().filter(|_| self.enrolled) else { return Ok(None) };
        if matches!(asking.stage, Stage::Syncing(true)) && is_all_answered {
            let makes_key = asking.wish == AccountWish::ReplaceKey;
            asking.stage = if makes_key { Stage::MakingKey } else { Stage::Ready };
            if makes_key {
                // A storage that has yet to put the last one in its place must do that first.
                let first = self.membership.is_key_to_take.then_some(Output::TakeNextKey);
                self.membership.news.extend(first.into_iter().chain([Output::MakeNextKey]));
            }
        }
        let (wish, asked) = (asking.wish.clone(), asking.wish.asked());
        let by_next_key = asked == Asked::ReplaceKey;
        let token = match &asking.stage {
            Stage::Syncing(_) | Stage::MakingKey => return Ok(None),
            // A sync that is due goes between two tries.
            Stage::Sent(_) if !asking.is_synced && is_sync_due => return Ok(None),
            Stage::Sent(_) if !is_time_to_retry || tick.elapsed < asking.retry_at => return Ok(None),
            Stage::Sent(token) => token.clone(),
            Stage::Ready => self.sign_question(self.what(wish, tick)?, &self.key, tick)?,
        };
        if let Some(asking) = &mut self.membership.asking {
            asking.stage = Stage::Sent(token.clone());
            asking.is_synced = false;
        }
        Ok(Some(Question { token, asked, by_next_key, resume: None }))
    }

    fn what(&self, wish: AccountWish, tick: Tick) -> Result<AccountAsk, String> {
        Ok(match wish {
            AccountWish::Devices => AccountAsk::Show,
            AccountWish::LinkCode => AccountAsk::LinkCode,
            AccountWish::JoinByCode(code) => AccountAsk::JoinByCode { code },
            AccountWish::SignIn(id_token) => AccountAsk::SignIn { id_token },
            AccountWish::NameDevice { device, name } => AccountAsk::NameDevice { device, name },
            AccountWish::RevokeDevice(device) => AccountAsk::RevokeDevice { device },
            AccountWish::ReplaceKey => {
                let next = self.membership.next_key.as_ref().ok_or("there is no key to go on with")?;
                let game = &self.settings.game;
                let enrolment = Enrolment::sign_into(next, &self.account, game, tick.unix);
                AccountAsk::ReplaceKey { enrolment: enrolment.map_err(|error| error.to_string())? }
            }
        })
    }

    fn sign_question(&self, ask: AccountAsk, key: &SecretKey, tick: Tick) -> Result<Token, String> {
        let request = AccountRequest {
            device: key.id(),
            account: self.account.clone(),
            game: self.settings.game.clone(),
            issued_at: tick.unix,
            id: ReceiptId(tick.random),
            ask,
        };
        request.sign(key).map_err(|error| error.to_string())
    }

    /// The key is made that is to take the place of the device's, or could not be.
    pub(super) fn next_key_made(&mut self, made: Result<SecretKey, String>) {
        match made {
            Ok(key) if key.id() == self.device => {}
            Ok(key) => {
                self.membership.next_key = Some(key);
                self.membership.is_next_key_unknown = false;
                if let Some(asking) = &mut self.membership.asking
                    && matches!(asking.stage, Stage::MakingKey)
                {
                    asking.stage = Stage::Ready;
                }
            }
            Err(trouble) => self.end_asking(AccountTrouble::NotSaved { trouble }),
        }
    }

    /// The storage has put the new key in the place of the device's, or could not.
    pub(super) fn next_key_taken(&mut self, taken: Result<(), String>) {
        self.membership.is_key_to_take = taken.is_err();
        if let Err(trouble) = taken {
            // The journal says which key counts, so the next start does it.
            self.membership.news.push(Output::Tell(Update::Trouble(trouble.clone())));
            // Before that the next key's place is not free for another.
            self.end_asking(AccountTrouble::NotSaved { trouble });
        }
    }

    /// What was answered about the account could not be saved.
    pub(super) fn account_not_saved(&mut self, trouble: &str) {
        self.end_asking(AccountTrouble::NotSaved { trouble: trouble.to_owned() });
    }

    /// A question about the account was answered.
    pub(super) fn question_answered(&mut self, question: Question, response: &Response, tick: Tick) {
        if !(200..300).contains(&response.status) {
            return self.question_refused(question, response, tick);
        }
        match self.read_account(question.clone(), response) {
            Ok(learned) if learned.claims.is_revoked() && self.is_next_key_to_be_asked_first(&question) => {
                self.ask_the_next_key_first(learned, tick);
            }
            Ok(learned) if self.is_account_news(&learned.claims) => {
                self.link = Link::Storing;
                self.waiting.push_front(Waiting::Account(Box::new(learned)));
            }
            Ok(learned) => {
                self.link = match learned.resume.clone() {
                    Some((until, trouble)) => Link::Waiting { until, again: None, trouble },
                    None => Link::Idle,
                };
                self.tell_answer(&learned);
            }
            Err(trouble) => self.question_failed(question, &trouble, Failure::NO_ANSWER, tick),
        }
    }

    /// A question had no answer.
    pub(super) fn question_not_answered(&mut self, question: Question, trouble: &str, tick: Tick) {
        self.question_failed(question, trouble, Failure::NO_ANSWER, tick);
    }

    fn read_account(&mut self, question: Question, response: &Response) -> Result<Learned, String> {
        let token = self.signed_text(response)?;
        let next = self.membership.next_key.as_ref().filter(|_| question.by_next_key);
        let device = next.map_or(self.device, SecretKey::id);
        let keys = self.keys.as_of(self.heard());
        let claims =
            AccountResponse::verify(&token, &keys, device, &self.settings.game, &question.token).map_err(|error| {
                match error {
                    AccountError::Message(error) => not_believed(&error),
                    error => format!("the answer is not believed: {error}"),
                }
            })?;
        let Question { asked, resume, .. } = question;
        Ok(Learned { claims, token, keys: self.unsaved_keys(), asked, resume })
    }

    fn question_refused(&mut self, question: Question, response: &Response, tick: Tick) {
        let problem: Option<Problem> = serde_json::from_slice(&response.body).ok();
        let kind = problem.as_ref().and_then(|it| ProblemType::ALL.iter().find(|kind| kind.as_str() == it.kind));
        let detail = problem.as_ref().map_or_else(|| format!("status {}", response.status), |it| it.detail.clone());
        if let Some((until, trouble)) = question.resume {
            // Nobody has signed the refusal: only that the server does not know the next key at all is worth asking by the
            // old one, whose place it may have taken otherwise.
            if question.by_next_key && kind == Some(&ProblemType::UnknownDevice) {
                self.membership.is_next_key_unknown = true;
                self.membership.doubt = Some(Doubt::ThisKey);
            }
            self.link = Link::Waiting { until, again: None, trouble };
            return;
        }
        let is_first = self.membership.asking.as_ref().is_some_and(|asking| !asking.is_enrolled);
        if kind == Some(&ProblemType::UnknownDevice) && is_first && self.enrol_again() {
            if let Some(asking) = &mut self.membership.asking {
                asking.is_enrolled = true;
                asking.is_synced = true;
            }
            self.link = Link::Idle;
            return self.sync_now();
        }
        if response.status >= 500 || kind == Some(&ProblemType::RequestTimeout) {
            let trouble = format!("the server answered with status {}: {detail}", response.status);
            let failure = Failure { is_reached: true, retry_after: response.retry_after };
            return self.question_failed(question, &trouble, failure, tick);
        }
        self.link = Link::Idle;
        // A sync tells whether it is true, and if it is, the server is asked for its signed word.
        self.sync_wanted |= matches!(kind, Some(ProblemType::DeviceRevoked | ProblemType::WrongAccount));
        self.end_asking(match kind {
            Some(ProblemType::WrongLinkCode) => AccountTrouble::WrongLinkCode,
            Some(ProblemType::TooManyDevices) => AccountTrouble::TooManyDevices,
            Some(ProblemType::TooManyPurchases) => AccountTrouble::TooManyPurchases,
            Some(ProblemType::Conflict) if question.asked == Asked::SignIn => AccountTrouble::Conflict,
            Some(ProblemType::NotYourDevice) => AccountTrouble::NotYourDevice,
            Some(ProblemType::DeviceRevoked) => AccountTrouble::DeviceRevoked,
            Some(ProblemType::TooManyRequests) => AccountTrouble::TooOften,
            Some(ProblemType::BadIdToken) => AccountTrouble::BadIdToken,
            Some(ProblemType::SignInUnavailable) => AccountTrouble::SignInUnavailable,
            _ => AccountTrouble::Refused { detail },
        });
    }

    /// An answer about the account is durable: now, and only now, it counts.
    pub(super) fn account_learned(&mut self, learned: &Learned) {
        if learned.keys.is_some() {
            self.keys_saved = self.keys.number();
        }
        let (account, had_wallet) = (self.account.clone(), !self.wallet.is_empty());
        let device = self.device;
        self.strays_are_written_again(&learned.claims);
        self.enter(&learned.claims, &learned.token);
        self.link = Link::Idle;
        self.end_what_a_revoked_device_asked(learned.asked);
        let is_elsewhere = self.account != account || self.device != device;
        self.sync_wanted |= is_elsewhere || learned.resume.is_some();
        if !is_elsewhere {
            return self.tell_answer(learned);
        }
        // What waits was never signed, so it is for the account of now.
        let waiting = self.waiting.iter().filter_map(|waiting| match waiting {
            Waiting::Purchase(terms) => Some(super::PlacedOrder::new(terms, learned.claims.issued_at)),
            _ => None,
        });
        let former = self.unanswered_former_orders();
        let own = self.orders.in_order().filter(|open| open.unanswered.is_some()).map(|open| open.order.clone());
        let orders: Vec<_> = own.chain(former).chain(waiting).collect();
        self.tell_answer(learned);
        let news = &mut self.membership.news;
        news.extend(orders.into_iter().map(|order| Output::Tell(Update::Order(order))));
        if had_wallet && self.wallet.is_empty() {
            news.push(Output::Tell(Update::Wallet(Vec::new())));
        }
    }

    /// A device that turns out to be revoked sends no sync, so nothing would ever come of a question that waits for one.
    /// It may still be asked how it stands with the devices.
    fn end_what_a_revoked_device_asked(&mut self, answered: Asked) {
        let waits = self.membership.asking.as_ref().map(|asking| asking.wish.asked());
        if self.membership.is_revoked() && waits.is_some_and(|asked| asked != answered && asked != Asked::Devices) {
            self.end_asking(AccountTrouble::DeviceRevoked);
        }
    }

    /// Tells what came of a question; nothing, if nobody asked and nothing was found.
    fn tell_answer(&mut self, learned: &Learned) {
        if learned.asked == Asked::LinkCode {
            self.membership.link_code = learned.claims.link_code;
        }
        if learned.asked != Asked::Nothing {
            self.failures = 0;
            self.membership.asking = None;
        } else if learned.resume.is_some() && self.link_is_waiting() {
            return;
        }
        self.tell_outcome(learned.asked, Ok(()));
    }

    fn link_is_waiting(&self) -> bool {
        matches!(self.link, Link::Waiting { .. })
    }
}
