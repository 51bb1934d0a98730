//! The orders that were verified lately, so that one that is sent again, because its answer was lost, is not verified again.

use std::sync::{Mutex, PoisonError};

use super::ledger::VerifiedOrder;
use super::remembered::Remembered;
use crate::protocol::order::OrderError;
use crate::protocol::{AccountId, GameId, PublicKey, Sha256, Token};

/// How many orders are remembered at most, by their digests: some megabytes.
const ROOM: usize = 65_536;

/// The digests of orders whose signatures were right. A text has one signer and one signature, so what was right once is
/// right for ever.
#[derive(Debug)]
pub(crate) struct VerifiedOrders(Mutex<Remembered<Sha256, ()>>);

impl Default for VerifiedOrders {
    fn default() -> Self {
        Self(Mutex::new(Remembered::with_room(ROOM)))
    }
}

impl VerifiedOrders {
    /// Verifies an order, or knows that it is the very text that was verified before.
    ///
    /// # Errors
    /// As [`VerifiedOrder::verify`].
    pub(crate) fn verify(
        &self,
        token: Token,
        key: PublicKey,
        account: &AccountId,
        game: &GameId,
    ) -> Result<VerifiedOrder, OrderError> {
        let sha256 = token.sha256();
        if self.remembered(|orders| orders.recall(&sha256)).is_some() {
            return VerifiedOrder::again(token, sha256, key, account, game);
        }
        let verified = VerifiedOrder::verify(token, key, account, game)?;
        self.remembered(|orders| orders.remember(sha256, ()));
        Ok(verified)
    }

    fn remembered<T>(&self, act: impl FnOnce(&mut Remembered<Sha256, ()>) -> T) -> T {
        // A panic elsewhere leaves nothing half done in a map.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Order, OrderId, SecretKey};

    fn order(key: &SecretKey) -> Order {
        Order {
            id: OrderId([1; 16]),
            device: key.id(),
            account: key.id().guest_account(),
            game: "arcade".parse().expect("a name"),
            issued_at: 0,
            sequence: 1,
            previous: None,
            product: "shield".parse().expect("a name"),
            quantity: 1,
            price: "0.005EUR".parse().expect("a price"),
            catalog: Sha256::of("catalog"),
            allowance: None,
        }
    }

    #[test]
    fn order_that_is_sent_again_is_the_same_and_nothing_else_passes_for_it() {
        let (orders, key) = (VerifiedOrders::default(), SecretKey::from_seed(&[1; 32]));
        let order = order(&key);
        let token = order.sign(&key).expect("signs");
        let verify = |token: &Token, key: &SecretKey, account: &AccountId, game: &str| {
            let game = game.parse().expect("a name");
            orders.verify(token.clone(), key.public(), account, &game).map(|verified| verified.order().clone())
        };
        for _ in 0..2 {
            assert_eq!(verify(&token, &key, &order.account, "arcade"), Ok(order.clone()));
        }
        // What is remembered is a text, and not who may send it, nor where.
        let stranger = SecretKey::from_seed(&[2; 32]);
        let not_its_own = verify(&token, &stranger, &stranger.id().guest_account(), "arcade");
        assert!(matches!(not_its_own, Err(OrderError::WrongDevice { .. })), "{not_its_own:?}");
        let other_account = verify(&token, &key, &stranger.id().guest_account(), "arcade");
        assert!(matches!(other_account, Err(OrderError::WrongAccount { .. })), "{other_account:?}");
        let other_game = verify(&token, &key, &order.account, "chess");
        assert!(matches!(other_game, Err(OrderError::WrongAudience { .. })), "{other_game:?}");
        let text = token.to_string();
        let (signed, signature) = text.rsplit_once('.').expect("three parts");
        let turned: String = signature.chars().rev().collect();
        let forged = verify(&Token::from_text(&format!("{signed}.{turned}")), &key, &order.account, "arcade");
        assert!(matches!(forged, Err(OrderError::Envelope(_))), "{forged:?}");
    }
}
