//! Signing in with the ID tokens of the game's login, which a small server of its own gives the keys of.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bevy_iap::server::login::Nonce;
use bevy_iap::server::{LocalServer, LoginConfig, ServerConfig};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;
use crate::support::catalog;

/// Keys of the login, by the names that tokens call them by.
fn key(algorithm: Algorithm) -> (&'static str, EncodingKey) {
    match algorithm {
        Algorithm::RS256 => ("rsa", EncodingKey::from_rsa_der(include_bytes!("rsa.der"))),
        Algorithm::PS256 => ("pss", EncodingKey::from_rsa_der(include_bytes!("rsa.der"))),
        Algorithm::ES256 => ("ec", EncodingKey::from_ec_der(include_bytes!("p256.der"))),
        Algorithm::EdDSA => ("ed", EncodingKey::from_ed_der(include_bytes!("ed25519.der"))),
        other => panic!("{other:?}"),
    }
}

const ALGORITHMS: [Algorithm; 4] = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];

fn jwk(algorithm: Algorithm) -> Value {
    let (name, key) = key(algorithm);
    let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&key, algorithm).expect("a key")).expect("serialises");
    jwk["kid"] = json!(name);
    jwk["use"] = json!("sig");
    jwk
}

/// A login: its discovery document and its keys, over HTTP.
struct LoginServer {
    address: SocketAddr,
    away: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl LoginServer {
    fn open() -> Self {
        Self::with(json!({ "keys": ALGORITHMS.map(jwk) }), |_| {})
    }

    fn with(keys: Value, change: impl FnOnce(&mut Value)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let address = listener.local_addr().expect("an address");
        let (away, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let url = format!("http://{address}");
        let mut discovery = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") });
        change(&mut discovery);
        let (is_away, counted) = (Arc::clone(&away), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                counted.fetch_add(1, Ordering::SeqCst);
                let (status, body) = match head.split(' ').nth(1) {
                    _ if is_away.load(Ordering::SeqCst) => ("503 Away", String::new()),
                    Some("/.well-known/openid-configuration") => ("200 OK", discovery.to_string()),
                    Some("/keys") => ("200 OK", keys.to_string()),
                    _ => ("404 Not Found", String::new()),
                };
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { address, away, asked }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn shop(&self, change: impl FnOnce(&mut LoginConfig)) -> Shop {
        let mut login = LoginConfig::new(self.url(), "arcade-game");
        change(&mut login);
        Shop::with(|config| config.login = Some(login))
    }

    fn claims(&self, subject: &str, device: &Device) -> Value {
        let now = now();
        json!({
            "iss": self.url(), "aud": "arcade-game", "sub": subject, "iat": now - 5, "exp": now + 300,
            "nonce": device.id(),
        })
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64
}

fn token(algorithm: Algorithm, claims: &Value) -> String {
    let (name, key) = key(algorithm);
    let header = Header { kid: Some(name.to_owned()), ..Header::new(algorithm) };
    encode(&header, claims, &key).expect("signs")
}

fn sign_in(shop: &Shop, device: &Device, id_token: String) -> Answer {
    ask(shop, device, AccountAsk::SignIn { id_token })
}

#[test]
fn player_signs_in_by_a_token_of_every_algorithm_that_is_taken() {
    let login = LoginServer::open();
    let shop = login.shop(|_| {});
    for algorithm in ALGORITHMS {
        let (mut first, second) = (shop.device(), shop.device());
        let subject = format!("{algorithm:?}");
        let order = first.order("double_jump", 1);
        first.sync(&shop, 0, &[order]);
        let id_token = token(algorithm, &login.claims(&subject, &first));
        let response = told(&shop, &first, AccountAsk::SignIn { id_token });
        assert!(response.signed_in && response.account == first.account());
        let id_token = token(algorithm, &login.claims(&subject, &second));
        let response = told(&shop, &second, AccountAsk::SignIn { id_token });
        assert_eq!((response.account.clone(), response.devices.len()), (first.account(), 2));
        let second = Device { joined: Some(response.account), ..second };
        assert_eq!(second.receipts(&shop, 0, &[]).len(), 1, "what was bought is there");
    }
    assert_eq!(login.asked(), 2, "the keys were fetched once: where they are, and they");
    assert!(shop.server.audit().expect("audits").is_clean());
}

#[test]
fn token_that_is_wrong_in_any_way_is_not_taken() {
    let login = LoginServer::open();
    let shop = login.shop(|_| {});
    let device = shop.device();
    let good = login.claims("ann", &device);
    let other = Device::new().id();
    let now = now();
    for (member, value) in [
        ("iss", json!("https://another.example")),
        ("iss", json!([login.url()])),
        ("iss", Value::Null),
        ("aud", json!("another-game")),
        ("aud", json!(["another-game"])),
        ("aud", json!(["arcade-game", "another-game"])),
        ("aud", Value::Null),
        ("azp", json!("another-game")),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", Value::Null),
        ("exp", json!(now - 61)),
        ("exp", Value::Null),
        ("nbf", json!(now + 90)),
        ("iat", json!(now - 700)),
        ("iat", json!(now + 90)),
        ("iat", Value::Null),
        ("nonce", json!(other)),
        ("nonce", Value::Null),
    ] {
        let mut claims = good.clone();
        match value {
            Value::Null => drop(claims.as_object_mut().expect("an object").remove(member)),
            ref value => claims[member] = value.clone(),
        }
        let answer = sign_in(&shop, &device, token(Algorithm::ES256, &claims));
        let problem = answer.assert_refused("/problems/bad-id-token", 422);
        assert!(problem.detail.contains("sign in again"), "{member} {value}: {problem:?}");
    }
    assert!(!told(&shop, &device, AccountAsk::Show).signed_in);
    let several = json!({ "aud": ["another-game", "arcade-game"], "azp": "arcade-game" });
    let mut claims = good;
    claims.as_object_mut().expect("an object").extend(several.as_object().expect("an object").clone());
    assert_eq!(sign_in(&shop, &device, token(Algorithm::ES256, &claims)).status, 200);
}

#[test]
fn token_that_chooses_its_own_key_or_algorithm_is_not_taken() {
    let login = LoginServer::open();
    let shop = login.shop(|_| {});
    let device = shop.device();
    let claims = login.claims("ann", &device);
    let refused = |token: String| {
        sign_in(&shop, &device, token).assert_refused("/problems/bad-id-token", 422);
    };
    let good = token(Algorithm::RS256, &claims);
    let [head, body, signature]: [&str; 3] = good.split('.').collect::<Vec<_>>().try_into().expect("three parts");
    let part = |value: Value| {
        // Unpadded base64url, by way of a JWT's own encoder.
        let text = encode(&Header::new(Algorithm::HS256), &value, &EncodingKey::from_secret(b"x")).expect("signs");
        text.split('.').nth(1).expect("a payload").to_owned()
    };
    // Unsigned, signed by the public key as if it were a secret, by the key of another algorithm, by nobody's key.
    refused(format!("{}.{body}.", part(json!({ "alg": "none", "typ": "JWT" }))));
    refused(format!("{}.{body}.", part(json!({ "alg": "none", "typ": "JWT", "kid": "rsa" }))));
    let secret = serde_json::to_vec(&jwk(Algorithm::RS256)).expect("serialises");
    let header = Header { kid: Some("rsa".to_owned()), ..Header::new(Algorithm::HS256) };
    refused(encode(&header, &claims, &EncodingKey::from_secret(&secret)).expect("signs"));
    let header = Header { kid: Some("rsa".to_owned()), ..Header::new(Algorithm::PS256) };
    refused(encode(&header, &claims, &key(Algorithm::PS256).1).expect("signs"));
    let header = Header { kid: Some("ec".to_owned()), ..Header::new(Algorithm::RS256) };
    refused(encode(&header, &claims, &key(Algorithm::RS256).1).expect("signs"));
    let header = Header { kid: Some("nobody".to_owned()), ..Header::new(Algorithm::RS256) };
    refused(encode(&header, &claims, &key(Algorithm::RS256).1).expect("signs"));
    // Changed on the way, cut off, or no token at all.
    let mut other = claims.clone();
    other["sub"] = json!("zoe");
    refused(format!("{head}.{}.{signature}", part(other)));
    refused(format!("{head}.{body}."));
    refused(format!("{head}.{body}"));
    refused("token".to_owned());
    // One that is longer than a question may hold is no question.
    sign_in(&shop, &device, "a".repeat(9_000)).assert_refused("/problems/bad-token", 400);
    // One that asks for what is not known, or is of another kind.
    for member in [json!({ "crit": ["x"], "x": 1 }), json!({ "typ": "at+jwt" })] {
        let mut header = Header { kid: Some("rsa".to_owned()), ..Header::new(Algorithm::RS256) };
        for (name, value) in member.as_object().expect("an object") {
            match name.as_str() {
                "typ" => header.typ = value.as_str().map(str::to_owned),
                name => header.extras.insert(name, value),
            };
        }
        refused(encode(&header, &claims, &key(Algorithm::RS256).1).expect("signs"));
    }
    assert_eq!(sign_in(&shop, &device, good).status, 200);
}

#[test]
fn nonce_may_be_left_out_only_where_the_operator_says_so() {
    let login = LoginServer::open();
    let shop = login.shop(|config| config.nonce = Nonce::Optional);
    let device = shop.device();
    let mut claims = login.claims("ann", &device);
    claims["nonce"] = json!(Device::new().id());
    sign_in(&shop, &device, token(Algorithm::EdDSA, &claims)).assert_refused("/problems/bad-id-token", 422);
    claims.as_object_mut().expect("an object").remove("nonce");
    assert_eq!(sign_in(&shop, &device, token(Algorithm::EdDSA, &claims)).status, 200);
}

#[test]
fn login_that_is_away_is_no_reason_to_take_a_token_for_a_bad_one() {
    let login = LoginServer::open();
    let shop = login.shop(|_| {});
    let device = shop.device();
    login.away.store(true, Ordering::SeqCst);
    let id_token = token(Algorithm::RS256, &login.claims("ann", &device));
    for _ in 0..3 {
        let answer = sign_in(&shop, &device, id_token.clone());
        answer.assert_refused("/problems/unavailable", 503);
        assert_eq!(answer.header("retry-after"), Some("60"));
    }
    assert_eq!(login.asked(), 1, "it is asked again once a minute");
    assert_eq!(told(&shop, &device, AccountAsk::Show).account, device.account(), "all else goes on");
}

#[test]
fn keys_that_are_known_are_used_while_the_login_is_away_and_unknown_ones_asked_for_once() {
    let login = LoginServer::open();
    let shop = login.shop(|config| config.keys = Some(format!("{}/keys", config.issuer)));
    let device = shop.device();
    let claims = login.claims("ann", &device);
    assert_eq!(sign_in(&shop, &device, token(Algorithm::RS256, &claims)).status, 200);
    login.away.store(true, Ordering::SeqCst);
    assert_eq!(sign_in(&shop, &device, token(Algorithm::ES256, &claims)).status, 200);
    let header = Header { kid: Some("new".to_owned()), ..Header::new(Algorithm::RS256) };
    let unknown = encode(&header, &claims, &key(Algorithm::RS256).1).expect("signs");
    for _ in 0..3 {
        sign_in(&shop, &device, unknown.clone()).assert_refused("/problems/bad-id-token", 422);
    }
    assert_eq!(login.asked(), 1);
}

#[test]
fn login_whose_documents_are_not_its_own_is_not_believed() {
    let keys = || json!({ "keys": [jwk(Algorithm::RS256)] });
    let secret = json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0", "kid": "rsa", "alg": "HS256" }] });
    for login in [
        LoginServer::with(keys(), |discovery| discovery["issuer"] = json!("https://another.example")),
        LoginServer::with(keys(), |discovery| discovery["jwks_uri"] = json!("http://another.example/keys")),
        LoginServer::with(json!({ "keys": [] }), |_| {}),
        LoginServer::with(json!("keys"), |_| {}),
        LoginServer::with(secret, |_| {}),
    ] {
        let shop = login.shop(|_| {});
        let device = shop.device();
        let id_token = token(Algorithm::RS256, &login.claims("ann", &device));
        sign_in(&shop, &device, id_token).assert_refused("/problems/unavailable", 503);
    }
}

#[test]
fn keys_may_be_in_a_file_and_name_no_algorithm() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.json");
    let mut plain = jwk(Algorithm::RS256);
    plain.as_object_mut().expect("an object").remove("alg");
    let other_use = {
        let mut key = jwk(Algorithm::ES256);
        key["use"] = json!("enc");
        key
    };
    std::fs::write(&path, json!({ "keys": [plain, other_use] }).to_string()).expect("writes");
    let login = LoginServer::open();
    let shop = login.shop(|config| config.keys = Some(path.display().to_string()));
    let device = shop.device();
    let claims = login.claims("ann", &device);
    sign_in(&shop, &device, token(Algorithm::ES256, &claims)).assert_refused("/problems/bad-id-token", 422);
    sign_in(&shop, &device, token(Algorithm::PS256, &claims)).assert_refused("/problems/bad-id-token", 422);
    assert_eq!(sign_in(&shop, &device, token(Algorithm::RS256, &claims)).status, 200);
    assert_eq!(login.asked(), 0);
}

#[test]
fn nothing_of_a_player_is_kept_but_a_digest() {
    let login = LoginServer::open();
    let shop = login.shop(|_| {});
    let device = shop.device();
    let subject = "ann-of-the-long-name@players.example";
    assert_eq!(sign_in(&shop, &device, token(Algorithm::RS256, &login.claims(subject, &device))).status, 200);
    for file in ["store.sqlite", "store.sqlite-wal"] {
        let bytes = std::fs::read(shop.folder.path().join(file)).expect("reads");
        assert!(!bytes.windows(subject.len()).any(|found| found == subject.as_bytes()), "{file}");
    }
}

#[test]
fn login_that_cannot_be_used_does_not_start_a_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = || LoginConfig::new("https://login.example", "arcade-game");
    for (config, told) in [
        (LoginConfig::new("", "arcade-game"), "the login's issuer is empty"),
        (LoginConfig::new("https://login.example", " "), "the login's audience is empty"),
        (LoginConfig::new("http://login.example", "arcade-game"), "write an https:// URL"),
        (LoginConfig { keys: Some("http://login.example/keys".to_owned()), ..good() }, "write an https:// URL"),
        (LoginConfig { keys: Some("/nowhere/keys.json".to_owned()), ..good() }, "/nowhere/keys.json"),
        (LoginConfig { max_age: 0, ..good() }, "0 seconds old"),
    ] {
        let mut server = ServerConfig::new(folder.path(), catalog());
        server.login = Some(config);
        let error = LocalServer::start(server).expect_err("it is refused");
        assert!(error.to_string().contains(told), "{error}");
    }
}
