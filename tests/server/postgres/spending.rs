//! Allowances where several servers share one database.

use std::sync::{Arc, Barrier};
use std::thread;

use bevy_iap::protocol::{Allowance, AllowanceRequest, AllowanceUse, Currency, Micros, Order, Token};
use bevy_iap::server::ledger::{AllowanceRules, AllowanceWish, Context, Ledger as _};

use super::{Till, entry, is_new, verified};
use crate::cluster;
use crate::support::{Device, catalog, game};

impl Till {
    fn allow(&mut self, device: &Device) -> Option<Token> {
        let request = AllowanceRequest { current: None, currency: Currency::EUR };
        let wish = AllowanceWish { device: device.id(), account: device.account(), request };
        let catalog = catalog();
        let mut context = Context { catalog: &catalog, signer: &mut self.signer, now: 1_000_000 };
        self.ledger.allow(&[wish], &AllowanceRules::default(), &mut context).expect("allows").remove(0)
    }
}

/// Does something on three servers at once.
fn at_once<T: Send>(tills: &mut [Till], act: impl Fn(&mut Till) -> T + Sync) -> Vec<T> {
    let start = Arc::new(Barrier::new(tills.len()));
    thread::scope(|scope| {
        let servers: Vec<_> = tills
            .iter_mut()
            .map(|till| {
                let (start, act) = (Arc::clone(&start), &act);
                scope.spawn(move || {
                    start.wait();
                    act(till)
                })
            })
            .collect();
        servers.into_iter().map(|server| server.join().expect("ends")).collect()
    })
}

#[test]
fn allowance_is_set_aside_once_and_spent_once_whichever_server_is_asked() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, _) = cluster.fresh_books();
    let mut tills: Vec<Till> = (0..3).map(|_| Till::at(&url)).collect();
    for _ in 0..8 {
        let mut device = tills[0].devices(1).remove(0);
        let given = at_once(&mut tills, |till| till.allow(&device).expect("is given"));
        assert!(given.iter().all(|token| *token == given[0]), "all of them tell of the same one");
        assert_eq!(tills[1].euros(&device), 800_000);
        let key = tills[0].signer.public_key();
        let allowance =
            Allowance::verify(&given[0], &[key], &game(), &device.account(), device.id()).expect("verifies");
        let orders: Vec<_> = (1..=4)
            .map(|orders: u64| {
                let spent = Micros::new(50_000 * orders.cast_signed()).expect("in range");
                let claim = AllowanceUse { id: allowance.id, spent, orders };
                let order = Order { allowance: Some(claim), ..device.claims("shield", 10) };
                let token = device.sign(&order);
                verified(&device, token)
            })
            .collect();
        let told = at_once(&mut tills, |till| till.settle(&orders).expect("settles"));
        assert_eq!(told.iter().flatten().filter(|outcome| is_new(outcome)).count(), orders.len());
        for outcomes in &told {
            assert!(outcomes.iter().zip(&told[0]).all(|(one, other)| entry(one) == entry(other)));
        }
        assert_eq!(tills[2].euros(&device), 800_000, "all of it was paid out of the allowance");
    }
    tills[0].assert_right();
}
