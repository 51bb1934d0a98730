//! What a player asks about their account, by one of its devices: to join it, to list, name and revoke its devices, and
//! to change a device's key.
//!
//! An [`AccountRequest`] is signed by the device that asks, and an [`AccountResponse`] by the server. Nothing in either
//! is money or a receipt: what an account owns is in its feed.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use super::UnixSeconds;
use super::digest::Sha256;
use super::envelope::{self, Claims, EnvelopeError, Token};
use super::keys::{KeyId, PublicKey, SecretKey, TrustedKeys};
use super::name::{AccountId, GameId, ReceiptId};
use super::sync::{ChainHead, Enrolment, SyncError, check_parties};
use super::text::serde_as_text;

/// The longest name of a device, in characters.
pub const MAX_DEVICE_NAME: usize = 40;

/// The longest ID token that is passed on, in bytes.
pub const MAX_ID_TOKEN: usize = 8 * 1024;

/// How long a link code is good for, in seconds.
pub const LINK_CODE_LIFE: UnixSeconds = 600;

/// The claims of an `iap-account+jwt`: what a device asks about the account that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRequest {
    /// The device that signs.
    #[serde(rename = "iss")]
    pub device: KeyId,
    /// The account that the device believes it belongs to. It may have changed: the answer says which it is.
    #[serde(rename = "sub")]
    pub account: AccountId,
    /// The game.
    #[serde(rename = "aud")]
    pub game: GameId,
    /// When, by the device's clock.
    #[serde(rename = "iat")]
    pub issued_at: UnixSeconds,
    /// 128 random bits, so that no two requests are alike.
    #[serde(rename = "jti")]
    pub id: ReceiptId,
    /// What is asked.
    pub ask: AccountAsk,
}

/// What a device can ask about its account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[non_exhaustive]
pub enum AccountAsk {
    /// Which account the device belongs to, and which devices do besides. Changes nothing.
    Show,
    /// A code with which another device joins this account: single use, for [`LINK_CODE_LIFE`]. It takes the place of
    /// the last one.
    LinkCode,
    /// To join the account that made this code.
    JoinByCode {
        /// The code.
        code: LinkCode,
    },
    /// To join the account of a player whom the game's own login knows.
    SignIn {
        /// The OpenID Connect ID token that the login gave, a JWT; of [`MAX_ID_TOKEN`] bytes at most.
        id_token: String,
    },
    /// To call a device of the account by a name.
    NameDevice {
        /// The device.
        device: KeyId,
        /// The name; none takes it away.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<DeviceName>,
    },
    /// To have a device of the account buy nothing and hear nothing any more, for ever.
    RevokeDevice {
        /// The device.
        device: KeyId,
    },
    /// To go on with another key. The old one is revoked.
    ReplaceKey {
        /// The new key, and its own word that it wants to join this account: as [`Enrolment::sign_into`] makes it.
        enrolment: Enrolment,
    },
}

/// Each member is read by itself, as strictly as all that is signed: what serde makes of a tagged enum would take lists for
/// objects, and `null` for what is left out.
impl<'de> Deserialize<'de> for AccountAsk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = &mut Members::deserialize(deserializer)?;
        Ok(match needed::<String, _>(members, "what")?.as_str() {
            "show" => Self::Show,
            "link_code" => Self::LinkCode,
            "join_by_code" => Self::JoinByCode { code: needed(members, "code")? },
            "sign_in" => match needed::<String, _>(members, "id_token")? {
                id_token if id_token.len() <= MAX_ID_TOKEN => Self::SignIn { id_token },
                _ => return Err(D::Error::custom(format_args!("an ID token has {MAX_ID_TOKEN} bytes at most"))),
            },
            "name_device" => Self::NameDevice { device: needed(members, "device")?, name: member(members, "name")? },
            "revoke_device" => Self::RevokeDevice { device: needed(members, "device")? },
            "replace_key" => Self::ReplaceKey { enrolment: needed(members, "enrolment")? },
            other => return Err(D::Error::custom(format_args!("nobody can ask {other:?} of an account"))),
        })
    }
}

type Members = BTreeMap<String, envelope::Value>;

fn member<T: DeserializeOwned, E: serde::de::Error>(members: &mut Members, name: &str) -> Result<Option<T>, E> {
    members.remove(name).map(T::deserialize).transpose().map_err(E::custom)
}

fn needed<T: DeserializeOwned, E: serde::de::Error>(members: &mut Members, name: &'static str) -> Result<T, E> {
    member(members, name)?.ok_or_else(|| E::missing_field(name))
}

impl Claims for AccountRequest {
    const TYPE: &'static str = "iap-account+jwt";
    const MAX_LENGTH: usize = 16 * 1024;
}

impl AccountRequest {
    /// Signs the request.
    ///
    /// # Errors
    /// As [`envelope::sign`].
    pub fn sign(&self, key: &SecretKey) -> Result<Token, EnvelopeError> {
        envelope::sign(self, key)
    }

    /// Verifies a request of the device with `key` for `game`, whichever account it believes to belong to.
    ///
    /// # Errors
    /// The token does not verify, or is another device's or game's.
    pub fn verify(token: &Token, key: PublicKey, game: &GameId) -> Result<Self, SyncError> {
        let (kid, request) = envelope::verify::<Self>(token, &[key])?;
        check_parties(kid, request.device, game, &request.game, &request.account, &request.account)?;
        Ok(request)
    }

    /// The device that a request says it is from, before anything is verified: only good for looking up its key.
    ///
    /// # Errors
    /// The token is too long, or not one of this kind at all.
    pub fn claimed_device(token: &Token) -> Result<KeyId, EnvelopeError> {
        envelope::claimed_key::<Self>(token)
    }
}

/// The claims of an `iap-account-response+jwt`: the account that a device belongs to, as it is once what was asked is
/// done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountResponse {
    /// The server that signs, by its key.
    #[serde(rename = "iss")]
    pub server: KeyId,
    /// The account that the device belongs to now.
    #[serde(rename = "sub")]
    pub account: AccountId,
    /// The game.
    #[serde(rename = "aud")]
    pub game: GameId,
    /// When, by the server's clock.
    #[serde(rename = "iat")]
    pub issued_at: UnixSeconds,
    /// The digest of the request that this answers, so that no old answer can be played again.
    pub request_sha256: Sha256,
    /// The device that asked; after [`AccountAsk::ReplaceKey`] the id of the new key.
    pub device: KeyId,
    /// Whether the account belongs to somebody whom the game's login knows.
    pub signed_in: bool,
    /// The account's devices, in the order in which they joined it, that of the asker among them; of those that were
    /// revoked, the asker alone, which is told of no other then.
    pub devices: Vec<DeviceEntry>,
    /// The last order in the device's chain: what a device that has joined another account goes on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<ChainHead>,
    /// The code that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_code: Option<IssuedLinkCode>,
}

impl Claims for AccountResponse {
    const TYPE: &'static str = "iap-account-response+jwt";
    const MAX_LENGTH: usize = 64 * 1024;
}

impl AccountResponse {
    /// Signs the response.
    ///
    /// # Errors
    /// As [`envelope::sign`].
    pub fn sign(&self, key: &SecretKey) -> Result<Token, EnvelopeError> {
        envelope::sign(self, key)
    }

    /// Verifies that one of the trusted server `keys` answers `request` of `device`, or of the device that takes its
    /// place, for `game`. The account may be another than the device's so far.
    ///
    /// # Errors
    /// The token does not verify, is for another device or game, answers another request, or its key is not trusted
    /// now.
    pub fn verify(
        token: &Token,
        keys: &(impl TrustedKeys + ?Sized),
        device: KeyId,
        game: &GameId,
        request: &Token,
    ) -> Result<Self, AccountError> {
        let (kid, response) = envelope::verify::<Self>(token, keys).map_err(SyncError::from)?;
        check_parties(kid, response.server, game, &response.game, &response.account, &response.account)?;
        if response.request_sha256 != request.sha256() {
            return Err(SyncError::AnswersAnotherRequest.into());
        }
        if response.device != device {
            return Err(AccountError::WrongDevice { expected: device, found: response.device });
        }
        keys.judge_answer(kid, response.issued_at).map_err(SyncError::from)?;
        Ok(response)
    }

    /// Reads an answer for `game` that was verified when it came, and kept: for whichever device it was.
    ///
    /// # Errors
    /// The token does not verify with `keys`, or is for another game.
    pub fn verify_kept(token: &Token, keys: &(impl TrustedKeys + ?Sized), game: &GameId) -> Result<Self, AccountError> {
        let (kid, response) = envelope::verify::<Self>(token, keys).map_err(SyncError::from)?;
        check_parties(kid, response.server, game, &response.game, &response.account, &response.account)?;
        Ok(response)
    }

    /// Whether the asking device was revoked.
    pub fn is_revoked(&self) -> bool {
        self.devices.iter().any(|entry| entry.id == self.device && entry.revoked)
    }
}

/// A device of an account, as its player sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceEntry {
    /// The device.
    pub id: KeyId,
    /// What the player calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<DeviceName>,
    /// When it was enrolled, by the server's clock.
    pub enrolled_at: UnixSeconds,
    /// Whether it was revoked: it buys nothing and hears nothing any more.
    #[serde(default, skip_serializing_if = "is_false")]
    pub revoked: bool,
    /// Whether nothing is sold to it until the operator says otherwise.
    #[serde(default, skip_serializing_if = "is_false")]
    pub frozen: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// A link code, and when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedLinkCode {
    /// The code, to be shown to the player alone.
    pub code: LinkCode,
    /// From when on it is good for nothing, by the server's clock.
    pub expires_at: UnixSeconds,
}

/// What a player reads on one device and types on another: 40 random bits as eight characters of Crockford's base 32
/// (<https://www.crockford.com/base32.html>), written `ABCD-EFGH`.
///
/// Reading one, capital and small letters are the same, `O` is `0`, `I` and `L` are `1`, and blanks and hyphens are
/// passed over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkCode([u8; 5]);

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl LinkCode {
    /// The code of these random bits.
    pub fn new(bits: [u8; 5]) -> Self {
        Self(bits)
    }

    /// The digest by which a server remembers it.
    pub fn sha256(self) -> Sha256 {
        Sha256::of(format!("link code\0{self}"))
    }
}

impl fmt::Display for LinkCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        for place in (0..8).rev() {
            let digit = CROCKFORD[(bits >> (5 * place) & 31) as usize];
            write!(f, "{}", char::from(digit))?;
            if place == 4 {
                f.write_str("-")?;
            }
        }
        Ok(())
    }
}

/// Shows nothing of the code: it is a secret while it lives.
impl fmt::Debug for LinkCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkCode(…)")
    }
}

impl FromStr for LinkCode {
    type Err = LinkCodeError;

    fn from_str(text: &str) -> Result<Self, LinkCodeError> {
        let mut bits = 0u64;
        let mut digits = 0;
        for character in text.chars().filter(|character| !matches!(character, ' ' | '-')) {
            let digit = match character.to_ascii_uppercase() {
                'O' => Some(0),
                'I' | 'L' => Some(1),
                other => CROCKFORD.iter().position(|digit| char::from(*digit) == other),
            };
            let digit = digit.filter(|_| digits < 8).ok_or(LinkCodeError)?;
            bits = bits << 5 | digit as u64;
            digits += 1;
        }
        let [.., a, b, c, d, e] = bits.to_be_bytes();
        if digits == 8 { Ok(Self([a, b, c, d, e])) } else { Err(LinkCodeError) }
    }
}

serde_as_text!(LinkCode);

/// A text that cannot be a link code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a link code has eight letters and digits, such as 7K3M-9QXD; check it on the other device")]
pub struct LinkCodeError;

/// What a player calls a device: 1 to [`MAX_DEVICE_NAME`] characters, none of them a control character, and no blank at
/// either end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct DeviceName(String);

impl DeviceName {
    /// Reads a name; blanks around it are left out.
    ///
    /// # Errors
    /// It is empty, too long, or has a control character in it.
    pub fn new(text: &str) -> Result<Self, DeviceNameError> {
        let text = text.trim();
        let length = text.chars().count();
        match (1..=MAX_DEVICE_NAME).contains(&length) && !text.chars().any(char::is_control) {
            true => Ok(Self(text.to_owned())),
            false => Err(DeviceNameError),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DeviceName {
    type Err = DeviceNameError;

    fn from_str(text: &str) -> Result<Self, DeviceNameError> {
        Self::new(text)
    }
}

/// As it is signed: with a blank at an end it is refused, and not mended.
impl TryFrom<String> for DeviceName {
    type Error = DeviceNameError;

    fn try_from(text: String) -> Result<Self, DeviceNameError> {
        Self::new(&text).ok().filter(|name| name.0 == text).ok_or(DeviceNameError)
    }
}

/// A text that cannot be a device's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a device's name has 1 to {MAX_DEVICE_NAME} characters on one line")]
pub struct DeviceNameError;

/// Why an answer about an account is not to be acted on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AccountError {
    /// As for every message between a device and its server.
    #[error(transparent)]
    Message(#[from] SyncError),
    /// It is for another device.
    #[error("the answer is for the device {found}, and this is {expected}")]
    WrongDevice {
        /// This device.
        expected: KeyId,
        /// The device named in the claims.
        found: KeyId,
    },
}

#[cfg(test)]
mod tests;
