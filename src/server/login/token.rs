//! What makes an ID token one that is believed.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;

use super::{LoginConfig, Nonce};
use crate::protocol::{KeyId, UnixSeconds};
use crate::server::ledger::Login;

/// By how many seconds the clocks of the login and of this server may differ.
const LEEWAY: f64 = 60.0;

/// What is read before anything is verified: only good for choosing among the login's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) key: Option<String>,
    pub(super) algorithm: Algorithm,
}

/// A key of the login, and the one algorithm that it is for.
#[derive(Clone, Debug)]
pub(super) struct LoginKey {
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    key: DecodingKey,
}

impl LoginKey {
    /// A key of a JWK set, if it is one that signs by an algorithm which is taken: none that both sides know, and none
    /// that is for something else. What signs is the key's to say and never the token's.
    pub(super) fn new(jwk: &Jwk) -> Option<Self> {
        if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        let usual = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => [Algorithm::RS256, Algorithm::PS256].as_slice(),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => &[Algorithm::ES256],
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
            _ => return None,
        };
        let algorithm = match jwk.common.key_algorithm {
            None => *usual.first()?,
            Some(KeyAlgorithm::RS256) => Algorithm::RS256,
            Some(KeyAlgorithm::PS256) => Algorithm::PS256,
            Some(KeyAlgorithm::ES256) => Algorithm::ES256,
            Some(KeyAlgorithm::EdDSA) => Algorithm::EdDSA,
            Some(_) => return None,
        };
        let key = DecodingKey::from_jwk(jwk).ok().filter(|_| usual.contains(&algorithm))?;
        Some(Self { id: jwk.common.key_id.clone(), algorithm, key })
    }
}

/// The head of a token.
///
/// # Errors
/// It has none that is known, or one that asks for more than is known.
pub(super) fn header(token: &str) -> Result<Header, String> {
    let header = decode_header(token).map_err(|_| "it is no JWT of a known kind".to_owned())?;
    if header.crit.is_some() {
        return Err("its header asks for something that is not known here".to_owned());
    }
    if header.typ.as_deref().is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
        return Err("it is of another type".to_owned());
    }
    Ok(Header { key: header.kid, algorithm: header.alg })
}

/// For whom a token is: one, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
struct IdToken {
    iss: String,
    sub: String,
    aud: Audience,
    /// Whom it was given to, where it is for several.
    azp: Option<String>,
    exp: f64,
    nbf: Option<f64>,
    iat: f64,
    nonce: Option<String>,
}

/// Who a token says that the player at `device` is.
///
/// # Errors
/// It does not verify, or is not for this game, this device or this time.
pub(super) fn verify(
    token: &str,
    key: &LoginKey,
    config: &LoginConfig,
    device: KeyId,
    now: UnixSeconds,
) -> Result<Login, String> {
    let mut validation = Validation::new(key.algorithm);
    validation.set_issuer(&[&config.issuer]);
    validation.set_audience(&[&config.audience]);
    validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
    // The times are judged below, by this server's clock.
    (validation.validate_exp, validation.validate_nbf) = (false, false);
    let claims = decode::<IdToken>(token, &key.key, &validation).map_err(|error| error.to_string())?.claims;
    if claims.iss != config.issuer {
        return Err("it is of another issuer".to_owned());
    }
    let several = matches!(&claims.aud, Audience::Several(all) if all.len() > 1);
    let one = match &claims.aud {
        Audience::One(one) => *one == config.audience,
        Audience::Several(all) => all.contains(&config.audience),
    };
    let given_to = claims.azp.as_ref().map_or(!several, |party| *party == config.audience);
    if !one || !given_to {
        return Err("it was given to another program".to_owned());
    }
    check_times(&claims, config, now)?;
    let own = device.to_string();
    match (&claims.nonce, config.nonce) {
        (Some(nonce), _) if *nonce != own => return Err("it is for another device".to_owned()),
        (None, Nonce::Required) => return Err("it names no device: its nonce must be the device's id".to_owned()),
        _ => {}
    }
    match claims.sub.is_empty() {
        true => Err("it names nobody".to_owned()),
        false => Ok(Login::new(&claims.iss, &claims.sub)),
    }
}

fn check_times(claims: &IdToken, config: &LoginConfig, now: UnixSeconds) -> Result<(), String> {
    // Seconds since 1970 are far within what a float holds exactly.
    let now = now as f64;
    let IdToken { exp, nbf, iat, .. } = *claims;
    if now >= exp + LEEWAY {
        return Err("its time is over".to_owned());
    }
    if nbf.is_some_and(|nbf| now + LEEWAY < nbf) || now + LEEWAY < iat {
        return Err("its time has not come; the clocks differ".to_owned());
    }
    if now > iat + f64::from(config.max_age) + LEEWAY {
        return Err(format!("it is older than {} seconds", config.max_age));
    }
    Ok(())
}
