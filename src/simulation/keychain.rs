//! Crashes while the device's key moves from the file into a keychain.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::disk::{Content, SimulatedDisk, Thoroughness};
use super::random::Random;
use crate::client::storage::file::FileStorage;
use crate::client::{Storage, storage::Keychain};
use crate::protocol::KeyId;

/// A keychain that never forgets.
#[derive(Clone, Debug, Default)]
struct Secrets(Arc<Mutex<BTreeMap<String, String>>>);

impl Secrets {
    fn ask<T>(&self, act: impl FnOnce(&mut BTreeMap<String, String>) -> T) -> Result<T, String> {
        Ok(act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Keychain for Secrets {
    fn read(&self, name: &str) -> Result<Option<String>, String> {
        self.ask(|secrets| secrets.get(name).cloned())
    }

    fn write(&self, name: &str, secret: &str) -> Result<(), String> {
        self.ask(|secrets| drop(secrets.insert(name.to_owned(), secret.to_owned())))
    }

    fn remove(&self, name: &str) -> Result<(), String> {
        self.ask(|secrets| drop(secrets.remove(name)))
    }
}

/// Starts on a disk, and gives the device and all states in between.
fn start(content: Content, secrets: &Secrets) -> (KeyId, Vec<Content>, Content) {
    let disk = SimulatedDisk::of(content);
    disk.record();
    let mut storage = FileStorage::on(disk.clone()).with_keychain(Box::new(secrets.clone()));
    let opened = storage.open(&mut |_, _| {}).expect("opens");
    (opened.key.id(), disk.recorded(), disk.content())
}

#[test]
fn no_crash_while_the_key_moves_into_the_keychain_makes_another_device() {
    let every = Thoroughness { tear_every: 1, at_random: 16 };
    let (mut random, mut images) = (Random::new(5), 0);
    let secrets = Secrets::default();
    let (device, _, mut content) = start(Content::default(), &secrets);
    // A keychain may forget what it was given last when the power fails.
    assert_eq!(start(content.clone(), &Secrets::default()).0, device);
    for _ in 0..3 {
        let (same, moments, after) = start(content, &secrets);
        assert_eq!(same, device);
        for image in moments.iter().flat_map(|moment| moment.after_crash(every, &mut random)) {
            images += 1;
            let (same, _, then) = start(image, &secrets);
            assert_eq!(same, device);
            assert_eq!(start(then, &secrets).0, device);
        }
        content = after;
    }
    assert!(images > 50, "{images} states");
    assert_eq!(start(content, &secrets).0, device);
}
