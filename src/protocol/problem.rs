//! The stable names of what a server can refuse, as the `type` of its `application/problem+json` (RFC 9457).
//!
//! A problem only ever delays: a client changes an order's fate on a signed receipt and on nothing else.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! problem_types {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal;)*) => {
        /// A kind of refusal.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ProblemType {
            $($(#[$doc])* $name,)*
        }

        impl ProblemType {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The `type` member: a relative URI reference that stays the same for ever.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => concat!("/problems/", $text),)* }
            }

            /// The HTTP status that it is sent with.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }
        }
    };
}

problem_types! {
    /// The body is not what this path takes.
    MalformedBody = "malformed-body", 400;
    /// A token does not verify.
    BadToken = "bad-token", 400;
    /// The administrator's token is missing or wrong.
    Unauthorized = "unauthorized", 401;
    /// The device was revoked: it buys nothing and hears nothing any more.
    DeviceRevoked = "device-revoked", 403;
    /// There is nothing at this path.
    NotFound = "not-found", 404;
    /// The device is not enrolled here; enrol it, then send the same request again.
    UnknownDevice = "unknown-device", 404;
    /// The account has no such device.
    NotYourDevice = "not-your-device", 404;
    /// The path does not take this method.
    MethodNotAllowed = "method-not-allowed", 405;
    /// The request did not arrive in time.
    RequestTimeout = "request-timeout", 408;
    /// The operation contradicts what was done before, as a second refund of one order does.
    Conflict = "conflict", 409;
    /// The account has as many devices as it may; one must be revoked first.
    TooManyDevices = "too-many-devices", 409;
    /// What was bought as a guest is too much to be moved to another account at once.
    TooManyPurchases = "too-many-purchases", 409;
    /// The body is too large.
    BodyTooLarge = "body-too-large", 413;
    /// The content type is not the one this path takes.
    UnsupportedMediaType = "unsupported-media-type", 415;
    /// There are too many orders in one request.
    TooManyOrders = "too-many-orders", 422;
    /// There are too many consumptions in one request.
    TooManyConsumptions = "too-many-consumptions", 422;
    /// A consumption's id was used before with another body.
    ConsumptionConflict = "consumption-conflict", 422;
    /// An order's id was used before with another body.
    OrderConflict = "order-conflict", 422;
    /// No link code like this is good now: it is mistyped, used, replaced or too old.
    WrongLinkCode = "wrong-link-code", 422;
    /// The ID token does not verify, or is not for this game.
    BadIdToken = "bad-id-token", 422;
    /// The server knows no login whose ID tokens it takes.
    SignInUnavailable = "sign-in-unavailable", 422;
    /// The message is for another game.
    WrongAudience = "wrong-audience", 422;
    /// The message is for an account that the device does not belong to.
    WrongAccount = "wrong-account", 422;
    /// The device or the address does too much; `Retry-After` says when to come back.
    TooManyRequests = "too-many-requests", 429;
    /// The server failed; nothing was changed.
    Internal = "internal", 500;
    /// The server is busy or stopping; `Retry-After` says when to come back.
    Unavailable = "unavailable", 503;
}

impl fmt::Display for ProblemType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The body of a refusal (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Problem {
    /// One of [`ProblemType::as_str`].
    #[serde(rename = "type")]
    pub kind: String,
    /// What this kind of refusal is, in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was wrong this time and what to do.
    pub detail: String,
}
