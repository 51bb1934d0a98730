//! Verifies a receipt with a server's published keys, as a game's own back end would. Uses no engine: a back end
//! depends on `bevy_iap` without default features.
//!
//! `cargo run --example verify_receipt -- KEYS RECEIPT GAME`, where KEYS is a file from the server's
//! `/.well-known/jwks.json` and RECEIPT a file with the receipt's signed text.

use std::error::Error;
use std::process::ExitCode;

use bevy_iap::protocol::{GameId, JwkSet, Receipt, Token};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [keys, receipt, game] = &arguments[..] else {
        eprintln!("usage: verify_receipt KEYS RECEIPT GAME (two files and the game's name)");
        return ExitCode::from(2);
    };
    match verify(keys, receipt, game) {
        Ok(receipt) => {
            println!("verified: {receipt:#?}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("refused: {error}");
            ExitCode::FAILURE
        }
    }
}

fn verify(keys: &str, receipt: &str, game: &str) -> Result<Receipt, Box<dyn Error>> {
    let keys: JwkSet = serde_json::from_str(&std::fs::read_to_string(keys)?)?;
    let receipt = Token::from_text(std::fs::read_to_string(receipt)?.trim());
    Ok(Receipt::verify(&receipt, &keys.public_keys(), &GameId::new(game)?)?)
}
