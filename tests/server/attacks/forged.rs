//! Tokens that are not what they say: unsigned, signed by another way or another key, of another kind, or with two
//! readings. Each is tried wherever the server takes a token: as a request, as an order or a consumption in one, and as a proof.

use std::io::ErrorKind;
use std::net::TcpListener;

use bevy_iap::protocol::envelope::Claims as _;
use bevy_iap::protocol::sync::{DeviceProof, Enrolment, SyncRequest};
use bevy_iap::protocol::{Consumption, Order, SecretKey, Token};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::forgery::{RawKey, claims, decode, encode, parts};
use super::scene::{Scene, attack, attacker, is_enrolled};
use crate::support::{Answer, game, post, send_sync};

const BAD_TOKEN: &str = "/problems/bad-token";

/// What an attacker makes of a kind of token and its claims.
type Forge<'a> = &'a dyn Fn(&RawKey, &str, &Value) -> Token;

/// Shows a forged token at each of the four doors, and returns what was answered.
fn knock(scene: &mut Scene, forge: Forge<'_>) -> [Answer; 4] {
    let address = scene.shop.address();
    let order = forge(&scene.raw, Order::TYPE, &claims(&scene.attacker.claims("double_jump", 1)));
    let within = scene.send(&[order]);
    let mut using = scene.attacker.request(0, &[]);
    let consumption = claims(&scene.attacker.consumption(1, "shield", 1));
    using.consumptions = vec![forge(&scene.raw, Consumption::TYPE, &consumption)];
    let using = send_sync(address, &using.sign(&scene.attacker.key).expect("signs"));
    let request = forge(&scene.raw, SyncRequest::TYPE, &claims(&scene.attacker.request(0, &[])));
    let alone = send_sync(address, &request);
    let (newcomer, raw) = attacker();
    let mut enrolment = claims(&Enrolment::sign(&newcomer.key, &game(), 0).expect("signs"));
    let proof = forge(&raw, DeviceProof::TYPE, &proof_of(&raw));
    enrolment["proof"] = json!(proof.as_str());
    let joining = post(address, "/v1/devices", "application/json", enrolment.to_string().as_bytes());
    assert!(!is_enrolled(&scene.shop, raw.id) || joining.status < 300);
    [within, using, alone, joining]
}

fn proof_of(raw: &RawKey) -> Value {
    json!({"iss": raw.id, "sub": raw.id.guest_account(), "aud": game(), "iat": 0})
}

/// Checks that a forged token is refused at each door, as one that does not verify.
fn refused(scene: &mut Scene, what: &str, forge: Forge<'_>) {
    for answer in knock(scene, forge) {
        let problem = answer.assert_refused(BAD_TOKEN, 400);
        assert!(problem.detail.contains(what), "{what:?} is not in {problem:?}");
    }
}

/// A header with other members, under which the attacker signs as it should be.
fn with_header(raw: &RawKey, kind: &str, payload: &Value, change: impl FnOnce(&mut Value)) -> Token {
    let mut header = raw.header(kind);
    change(&mut header);
    raw.token(&header.to_string(), &payload.to_string())
}

#[test]
fn honest_tokens_pass_the_doors_at_which_the_others_are_refused() {
    // Otherwise the attacks below would show nothing.
    attack(|scene| {
        let answers = knock(scene, &|raw, kind, payload| with_header(raw, kind, payload, |_| {}));
        assert_eq!(answers.map(|answer| answer.status), [200, 200, 200, 201]);
    });
}

#[test]
fn token_without_a_signature_is_refused() {
    attack(|scene| {
        for algorithm in ["none", "None", "NONE", "nOnE", ""] {
            let unsigned = |raw: &RawKey, kind: &str, payload: &Value, signature: &str| {
                let header = json!({"alg": algorithm, "typ": kind, "kid": raw.id}).to_string();
                let text =
                    format!("{}.{}.{signature}", encode(header.as_bytes()), encode(payload.to_string().as_bytes()));
                Token::from_text(&text)
            };
            refused(scene, "token", &|raw, kind, payload| unsigned(raw, kind, payload, ""));
            refused(scene, "`alg`", &|raw, kind, payload| unsigned(raw, kind, payload, &encode(&[0; 64])));
        }
        refused(scene, "not a compact JWS", &|raw, kind, payload| {
            let token = with_header(raw, kind, payload, |_| {});
            let [header, payload, _] = parts(&token);
            Token::from_text(&format!("{header}.{payload}"))
        });
        refused(scene, "does not verify", &|raw, kind, payload| {
            let token = with_header(raw, kind, payload, |_| {});
            let [header, payload, _] = parts(&token);
            Token::from_text(&format!("{header}.{payload}.{}", encode(&[0; 64])))
        });
    });
}

#[test]
fn public_key_as_a_shared_secret_signs_nothing() {
    attack(|scene| {
        for algorithm in ["HS256", "HS512"] {
            refused(scene, "`alg`", &|raw, kind, payload| {
                let header = json!({"alg": algorithm, "typ": kind, "kid": raw.id}).to_string();
                let text = format!("{}.{}", encode(header.as_bytes()), encode(payload.to_string().as_bytes()));
                // Twice, for a verifier that looks at the length alone.
                let mut code = Hmac::<Sha256>::new_from_slice(&raw.public_bytes()).expect("any length");
                code.update(text.as_bytes());
                let code = code.finalize().into_bytes();
                Token::from_text(&format!("{text}.{}", encode(&[&code[..], &code[..]].concat())))
            });
        }
    });
}

#[test]
fn key_that_comes_with_the_token_is_not_believed() {
    attack(|scene| {
        let forger = RawKey::new(&[0x66; 32]);
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": encode(&forger.public_bytes())});
        // In the attacker's name, and in that of the other player, with a signature that the key in the header verifies.
        for name in [scene.raw.id, scene.other.id()] {
            refused(scene, "\"jwk\"", &|_, kind, payload| {
                with_header(&forger, kind, payload, |header| {
                    header["jwk"] = jwk.clone();
                    header["kid"] = json!(name);
                })
            });
        }
        refused(scene, "does not verify", &|raw, kind, payload| {
            with_header(&forger, kind, payload, |header| header["kid"] = json!(raw.id))
        });
        refused(scene, "\"x5c\"", &|raw, kind, payload| {
            with_header(raw, kind, payload, |header| header["x5c"] = json!(["MIIB"]))
        });
    });
}

#[test]
fn key_at_an_address_in_the_token_is_not_fetched() {
    attack(|scene| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        listener.set_nonblocking(true).expect("is set");
        let url = format!("http://{}/jwks.json", listener.local_addr().expect("an address"));
        for member in ["jku", "x5u"] {
            refused(scene, member, &|raw, kind, payload| {
                with_header(raw, kind, payload, |header| header[member] = json!(url))
            });
        }
        let error = listener.accept().expect_err("nobody came for the key");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn header_that_asks_for_other_rules_is_refused() {
    attack(|scene| {
        let others = [
            json!({"crit": ["exp"], "exp": 1}),
            json!({"crit": []}),
            json!({"b64": false}),
            json!({"b64": false, "crit": ["b64"]}),
            json!({"cty": "JWT"}),
            json!({"zip": "DEF"}),
            json!({"enc": "A256GCM"}),
        ];
        for other in others {
            refused(scene, "may only have", &|raw, kind, payload| {
                with_header(raw, kind, payload, |header| {
                    let members = other.as_object().expect("an object").clone();
                    header.as_object_mut().expect("an object").extend(members);
                })
            });
        }
        // As RFC 7797 has it: the payload as it is, and not in base64url.
        refused(scene, "token", &|raw, kind, payload| {
            let mut header = raw.header(kind);
            (header["b64"], header["crit"]) = (json!(false), json!(["b64"]));
            let header = encode(header.to_string().as_bytes());
            let payload = payload.to_string().replace('.', "");
            let signature = raw.sign(format!("{header}.{payload}").as_bytes());
            Token::from_text(&format!("{header}.{payload}.{}", encode(&signature)))
        });
    });
}

#[test]
fn token_of_one_kind_does_not_pass_for_another() {
    attack(|scene| {
        let kinds = ["iap-device+jwt", "iap-order+jwt", "iap-receipt+jwt", "iap-sync+jwt", "iap-sync-response+jwt"];
        let kinds =
            kinds.into_iter().chain(["iap-allowance+jwt", "iap-keys+jwt", "JWT", "", "iap-order", "IAP-SYNC+JWT"]);
        for other in kinds {
            for (answer, own) in knock(scene, &|raw, _, payload| with_header(raw, other, payload, |_| {}))
                .into_iter()
                .zip([Order::TYPE, Consumption::TYPE, SyncRequest::TYPE, DeviceProof::TYPE])
                .filter(|(_, own)| *own != other)
            {
                let problem = answer.assert_refused(BAD_TOKEN, 400);
                assert!(problem.detail.contains("`typ`") && problem.detail.contains(own), "{problem:?}");
            }
        }
        refused(scene, "`typ`", &|raw, _, payload| {
            with_header(raw, "", payload, |header| drop(header.as_object_mut().map(|members| members.remove("typ"))))
        });
        refused(scene, "`typ`", &|raw, kind, payload| {
            with_header(raw, kind, payload, |header| header["typ"] = json!([kind]))
        });
    });
}

#[test]
fn receipt_of_the_server_is_no_order() {
    attack(|scene| {
        let bought = scene.attacker.order("shield", 1);
        let receipt = scene.attacker.sync(&scene.shop, 0, &[bought]).receipts.remove(0);
        scene.send(std::slice::from_ref(&receipt)).assert_refused(BAD_TOKEN, 400);
        send_sync(scene.shop.address(), &receipt).assert_refused(BAD_TOKEN, 400);
        // Under an order's header, with the server's own signature.
        let [_, payload, signature] = parts(&receipt);
        let header =
            json!({"alg": "EdDSA", "typ": Order::TYPE, "kid": scene.shop.server.public_key().id()}).to_string();
        let moved = Token::from_text(&format!("{}.{payload}.{signature}", encode(header.as_bytes())));
        scene.send(&[moved]).assert_refused(BAD_TOKEN, 400);
    });
}

#[test]
fn signature_of_one_text_does_not_carry_another() {
    attack(|scene| {
        for (from, to) in [("double_jump", "palace"), ("\"quantity\":1", "\"quantity\":9"), ("50000", "1")] {
            let signed = scene.attacker.claims("double_jump", 1).sign(&scene.attacker.key).expect("signs");
            let [header, payload, signature] = parts(&signed);
            let changed = decode(payload).replace(from, to);
            assert_ne!(changed, decode(payload));
            let token = Token::from_text(&format!("{header}.{}.{signature}", encode(changed.as_bytes())));
            let problem = scene.send(&[token]).assert_refused(BAD_TOKEN, 400);
            assert!(problem.detail.contains("does not verify"), "{problem:?}");
        }
        // Nor with any one bit of it another.
        for bit in (0..512).step_by(37) {
            refused(scene, "does not verify", &|raw, kind, payload| {
                let token = with_header(raw, kind, payload, |_| {});
                let [header, payload, _] = parts(&token);
                let mut signature = raw.sign(format!("{header}.{payload}").as_bytes());
                signature[bit / 8] ^= 1 << (bit % 8);
                Token::from_text(&format!("{header}.{payload}.{}", encode(&signature)))
            });
        }
    });
}

#[test]
fn second_signature_made_from_the_first_does_not_verify() {
    /// The order of the base point, least significant byte first.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    attack(|scene| {
        refused(scene, "does not verify", &|raw, kind, payload| {
            let token = with_header(raw, kind, payload, |_| {});
            let [header, payload, _] = parts(&token);
            let mut signature = raw.sign(format!("{header}.{payload}").as_bytes());
            let mut carry = 0;
            for (byte, addend) in signature[32..].iter_mut().zip(ORDER) {
                let sum = u16::from(*byte) + u16::from(addend) + carry;
                (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
            }
            Token::from_text(&format!("{header}.{payload}.{}", encode(&signature)))
        });
    });
}

#[test]
fn key_for_which_one_signature_fits_everything_is_not_enrolled() {
    use curve25519_dalek::constants::EIGHT_TORSION;
    use curve25519_dalek::edwards::EdwardsPoint;

    attack(|scene| {
        let honest = EdwardsPoint::mul_base(&curve25519_dalek::Scalar::from(7_u64));
        let mut keys: Vec<[u8; 32]> = EIGHT_TORSION.iter().map(|point| point.compress().to_bytes()).collect();
        keys.extend(EIGHT_TORSION[1..].iter().map(|point| (honest + point).compress().to_bytes()));
        // Encodings that are not the canonical ones: y is p + 1, and the other sign of zero.
        let mut large = [0xff; 32];
        (large[0], large[31]) = (0xee, 0x7f);
        let mut signed = [0; 32];
        (signed[0], signed[31]) = (1, 0x80);
        keys.extend([large, signed, [0xff; 32]]);
        for key in keys {
            let x = encode(&key);
            let thumbprint = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
            let kid = encode(&<Sha256 as sha2::Digest>::digest(thumbprint.as_bytes()));
            // R is the neutral element and S is zero: it verifies by the equation with the cofactor.
            let mut signature = [0; 64];
            signature[0] = 1;
            let header = json!({"alg": "EdDSA", "typ": DeviceProof::TYPE, "kid": kid}).to_string();
            let payload = json!({"iss": kid, "sub": kid, "aud": game(), "iat": 0}).to_string();
            let proof = format!("{}.{}.{}", encode(header.as_bytes()), encode(payload.as_bytes()), encode(&signature));
            let body = json!({"jwk": {"kty": "OKP", "crv": "Ed25519", "x": x}, "proof": proof}).to_string();
            let answer = post(scene.shop.address(), "/v1/devices", "application/json", body.as_bytes());
            answer.assert_refused("/problems/malformed-body", 400);
            let kid = kid.parse::<bevy_iap::protocol::KeyId>().expect("a thumbprint");
            assert!(!is_enrolled(&scene.shop, kid));
        }
    });
}

#[test]
fn claim_that_is_written_twice_has_no_second_meaning() {
    attack(|scene| {
        let before = |raw: &RawKey, kind: &str, payload: &Value, member: &str| {
            let payload = format!("{{{member},{}", payload.to_string().trim_start_matches('{'));
            raw.token(&raw.header(kind).to_string(), &payload)
        };
        for name in ["iss", "sub", "aud", "iat"] {
            let escaped = format!("\\u{:04x}{}", u32::from(name.as_bytes()[0]), &name[1..]);
            for spelled in [name, &escaped] {
                refused(scene, "twice", &|raw, kind, payload| {
                    before(raw, kind, payload, &format!("\"{spelled}\":{}", payload[name]))
                });
            }
        }
        refused(scene, "twice", &|raw, kind, payload| {
            before(raw, kind, payload, r#""x":[{"deep":{"a":1,"b":2,"\u0061":1}}]"#)
        });
        let cheap = claims(&scene.attacker.claims("double_jump", 1));
        let cheap = before(&scene.raw, Order::TYPE, &cheap, r#""price":{"micros":1,"currency":"EUR"}"#);
        assert!(scene.send(&[cheap]).assert_refused(BAD_TOKEN, 400).detail.contains("twice"));
        refused(scene, "twice", &|raw, kind, payload| {
            let header = format!(r#"{{"alg":"none","alg":"EdDSA","typ":"{kind}","kid":"{}"}}"#, raw.id);
            raw.token(&header, &payload.to_string())
        });
    });
}

#[test]
fn claims_in_a_second_spelling_are_refused() {
    attack(|scene| {
        // As the list of its members, which some readers take for the object.
        refused(scene, "malformed", &|raw, kind, payload| {
            let members: Vec<&Value> = payload.as_object().expect("an object").values().collect();
            raw.token(&raw.header(kind).to_string(), &json!(members).to_string())
        });
        // With null for what is left out, numbers as text, and numbers with a point.
        for (name, value) in [
            ("iat", json!("0")),
            ("iat", json!(0.5)),
            ("iat", json!(null)),
            ("sub", json!(["x"])),
            ("sub", json!("../other")),
            ("sub", json!("x' OR '1'='1")),
            ("aud", json!("ARCADE")),
            ("aud", json!(["arcade", "chess"])),
            ("iss", json!({"id": 1})),
        ] {
            refused(scene, "malformed", &|raw, kind, payload| {
                let mut payload = payload.clone();
                payload[name] = value.clone();
                raw.token(&raw.header(kind).to_string(), &payload.to_string())
            });
        }
        for payload in ["", "null", "[]", "\"\"", "{}", "{\"iss\":", "\u{feff}{}"] {
            refused(scene, "malformed", &|raw, kind, _| raw.token(&raw.header(kind).to_string(), payload));
        }
    });
}

#[test]
fn second_spelling_of_a_text_is_no_second_order() {
    attack(|scene| {
        let order = scene.attacker.order("shield", 1);
        scene.answer_to(&order);
        let [header, payload, signature] = parts(&order);
        // The last character of 64 bytes has four bits that mean nothing.
        let (rest, last) = signature.split_at(signature.len() - 1);
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let place = alphabet.find(last).expect("in the alphabet");
        for text in [
            format!("{header}.{payload}.{rest}{}", &alphabet[place + 1..=place + 1]),
            format!("{header}.{payload}.{signature}="),
            format!("{header}.{payload}.{signature}=="),
            format!("{header}.{payload}.{signature}\n"),
            format!(" {header}.{payload}.{signature}"),
            format!("{header}.{payload}.{signature}."),
            format!("{header}.{payload}\u{200b}.{signature}"),
            format!("{header}.{payload}.{}", signature.replace('-', "+").replace('_', "/") + "+"),
        ] {
            scene.send(&[Token::from_text(&text)]).assert_refused(BAD_TOKEN, 400);
        }
        // The same claims under a header in another order: another text, which the id was not given to.
        let other = format!(r#"{{"kid":"{}","typ":"iap-order+jwt","alg":"Ed25519"}}"#, scene.raw.id);
        let other = scene.raw.token(&other, &decode(payload));
        scene.send(&[other]).assert_refused("/problems/order-conflict", 422);
        assert_eq!(scene.euros(), 995_000);
    });
}

#[test]
fn key_of_nobody_signs_nothing() {
    attack(|scene| {
        // Enrolled nowhere, though it is the server's, or would be easy to guess.
        for seed in [[0; 32], [1; 32], [0xff; 32]] {
            let (key, raw) = (SecretKey::from_seed(&seed), RawKey::new(&seed));
            let mut request = scene.attacker.request(0, &[]);
            request.device = key.id();
            request.account = key.id().guest_account();
            send_sync(scene.shop.address(), &request.sign(&key).expect("signs"))
                .assert_refused("/problems/unknown-device", 404);
            let order =
                raw.token(&raw.header(Order::TYPE).to_string(), &claims(&scene.attacker.claims("gift", 1)).to_string());
            scene.send(&[order]).assert_refused(BAD_TOKEN, 400);
        }
        let server = scene.shop.server.public_key().id();
        let header = json!({"alg": "EdDSA", "typ": Order::TYPE, "kid": server}).to_string();
        let order = scene.raw.token(&header, &claims(&scene.attacker.claims("gift", 1)).to_string());
        scene.send(&[order]).assert_refused(BAD_TOKEN, 400);
    });
}
