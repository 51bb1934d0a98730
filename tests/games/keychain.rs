//! The device's key in a keychain: moved there from the file, and back to the file where there is none.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use bevy_iap::client::storage::file::FileStorage;
use bevy_iap::client::storage::keychain::SystemKeychain;
use bevy_iap::client::storage::{Keychain, Storage, StorageError};
use bevy_iap::protocol::{KeyId, SecretKey};

/// A keychain in memory that can be locked.
#[derive(Clone, Debug, Default)]
struct Fake(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    secrets: BTreeMap<String, String>,
    locked: bool,
    /// Takes whatever it is given, and forgets it.
    forgetful: bool,
}

impl Fake {
    fn ask<T>(&self, act: impl FnOnce(&mut State) -> T) -> Result<T, String> {
        let mut state = self.0.lock().expect("nobody has panicked");
        if state.locked { Err("it is locked".to_owned()) } else { Ok(act(&mut state)) }
    }

    fn set(&self, act: impl FnOnce(&mut State)) {
        act(&mut self.0.lock().expect("nobody has panicked"));
    }
}

impl Keychain for Fake {
    fn read(&self, name: &str) -> Result<Option<String>, String> {
        self.ask(|state| state.secrets.get(name).cloned())
    }

    fn write(&self, name: &str, secret: &str) -> Result<(), String> {
        self.ask(|state| {
            if !state.forgetful {
                state.secrets.insert(name.to_owned(), secret.to_owned());
            }
        })
    }

    fn remove(&self, name: &str) -> Result<(), String> {
        self.ask(|state| drop(state.secrets.remove(name)))
    }
}

/// Opens the storage in `folder` as a start of the game does, and gives the device.
fn start(folder: &Path, keychain: Option<impl Keychain>) -> Result<KeyId, StorageError> {
    let mut storage = FileStorage::new(folder);
    if let Some(keychain) = keychain {
        storage = storage.with_keychain(Box::new(keychain));
    }
    Ok(storage.open(&mut |_, _| {})?.key.id())
}

fn key_file(folder: &Path) -> String {
    fs::read_to_string(folder.join("device.key")).expect("there is a file")
}

#[test]
fn key_moves_into_the_keychain_and_out_of_the_file_only_once_the_keychain_has_shown_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let keychain = Fake::default();
    let device = start(folder.path(), None::<Fake>).expect("opens");
    let secret = key_file(folder.path());
    for _ in 0..3 {
        assert_eq!(start(folder.path(), Some(keychain.clone())).expect("opens"), device);
    }
    assert_eq!(key_file(folder.path()), format!("keychain {device}\n"));
    let kept = keychain.read(&device.to_string()).expect("reads").expect("it is there");
    assert_eq!(kept, secret.trim_end());
    for name in fs::read_dir(folder.path()).expect("reads").flatten().map(|entry| entry.path()) {
        let bytes = fs::read(&name).expect("reads");
        assert!(!bytes.windows(kept.len()).any(|window| window == kept.as_bytes()), "{name:?} holds the key");
    }

    let forgetful = Fake::default();
    forgetful.set(|state| state.forgetful = true);
    let folder = tempfile::tempdir().expect("a folder");
    let device = start(folder.path(), Some(forgetful.clone())).expect("opens");
    for _ in 0..3 {
        assert_eq!(start(folder.path(), Some(forgetful.clone())).expect("opens"), device);
    }
    assert!(!key_file(folder.path()).starts_with("keychain"), "nobody else has it");
}

#[test]
fn files_that_are_opened_again_without_a_new_start_keep_the_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut storage = FileStorage::new(folder.path()).with_keychain(Box::new(Fake::default()));
    for _ in 0..3 {
        storage.open(&mut |_, _| {}).expect("opens");
    }
    drop(storage);
    assert!(!key_file(folder.path()).starts_with("keychain"), "the keychain may forget it when the power fails now");
}

#[test]
fn without_a_keychain_the_key_stays_in_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let locked = Fake::default();
    locked.set(|state| state.locked = true);
    let device = start(folder.path(), Some(locked.clone())).expect("opens");
    assert_eq!(start(folder.path(), Some(locked)).expect("opens"), device);
    assert_eq!(start(folder.path(), None::<Fake>).expect("opens"), device);
}

#[test]
fn locked_keychain_is_waited_for_and_never_makes_a_new_player() {
    let folder = tempfile::tempdir().expect("a folder");
    let keychain = Fake::default();
    let device = start(folder.path(), Some(keychain.clone())).expect("opens");
    start(folder.path(), Some(keychain.clone())).expect("opens");
    keychain.set(|state| state.locked = true);
    let error = start(folder.path(), Some(keychain.clone())).expect_err("it is locked");
    assert!(matches!(error, StorageError::Keychain { .. }) && error.to_string().contains("unlock"), "{error}");
    keychain.set(|state| state.locked = false);
    assert_eq!(start(folder.path(), Some(keychain)).expect("opens"), device);
}

#[test]
fn folder_without_its_keychain_says_where_the_key_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let keychain = Fake::default();
    let device = start(folder.path(), Some(keychain.clone())).expect("opens");
    start(folder.path(), Some(keychain.clone())).expect("opens");
    let error = start(folder.path(), None::<Fake>).expect_err("there is none");
    assert!(matches!(error, StorageError::NoKeychain { .. }), "{error}");
    // On another computer, or with another key under the same name.
    let other = Fake::default();
    let error = start(folder.path(), Some(other.clone())).expect_err("it is not there");
    assert!(matches!(error, StorageError::NotInKeychain { .. }), "{error}");
    other.write(&device.to_string(), &"A".repeat(43)).expect("writes");
    assert_ne!(SecretKey::from_seed(&[0; 32]).id(), device);
    let error = start(folder.path(), Some(other)).expect_err("it is another");
    assert!(matches!(error, StorageError::NotInKeychain { .. }), "{error}");
    assert_eq!(start(folder.path(), Some(keychain)).expect("opens"), device);
}

#[test]
fn key_that_was_replaced_is_forgotten_by_the_keychain() {
    let folder = tempfile::tempdir().expect("a folder");
    let keychain = Fake::default();
    let device = start(folder.path(), Some(keychain.clone())).expect("opens");
    start(folder.path(), Some(keychain.clone())).expect("opens");
    let next = {
        let mut storage = FileStorage::new(folder.path()).with_keychain(Box::new(keychain.clone()));
        storage.open(&mut |_, _| {}).expect("opens");
        let next = storage.make_next_key().expect("makes").id();
        storage.take_next_key().expect("takes");
        next
    };
    assert_eq!(keychain.read(&device.to_string()).expect("reads"), None);
    for _ in 0..2 {
        assert_eq!(start(folder.path(), Some(keychain.clone())).expect("opens"), next);
    }
    assert_eq!(key_file(folder.path()), format!("keychain {next}\n"));
}

/// Set in the process that has a keychain of its own.
const FOLDER: &str = "BEVY_IAP_TEST_KEYCHAIN_FOLDER";

/// The secret service of a Linux desktop, started for this test alone: this test again, in a session of its own.
#[test]
#[cfg(target_os = "linux")]
fn real_keychain_of_the_desktop_keeps_the_key() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let folder = Path::new(&folder);
        let device = start(folder, Some(SystemKeychain)).expect("opens");
        assert_eq!(start(folder, Some(SystemKeychain)).expect("opens"), device);
        assert_eq!(key_file(folder), format!("keychain {device}\n"));
        assert_eq!(start(folder, Some(SystemKeychain)).expect("opens"), device);
        SystemKeychain.remove(&device.to_string()).expect("removes");
        let error = start(folder, Some(SystemKeychain)).expect_err("it is gone");
        assert!(matches!(error, StorageError::NotInKeychain { .. }), "{error}");
        return;
    }
    let exists = |program: &str| {
        let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().expect("a shell");
        found.status.success()
    };
    if !exists("dbus-run-session") || !exists("gnome-keyring-daemon") {
        let missing = "there is no secret service on this computer; install `dbus` and `gnome-keyring`";
        assert!(std::env::var_os("CI").is_none(), "{missing}");
        eprintln!("SKIPPED: {missing}");
        return;
    }
    let home = tempfile::tempdir().expect("a folder");
    let [data, run, save] = ["data", "run", "save"].map(|name| {
        let folder = home.path().join(name);
        fs::create_dir(&folder).expect("makes it");
        folder
    });
    let script = r#"printf 'test\n' | gnome-keyring-daemon --unlock --components=secrets >/dev/null; exec "$0" --exact "$1" --nocapture"#;
    let status = Command::new("timeout")
        .args(["120", "dbus-run-session", "--", "sh", "-c", script])
        .arg(std::env::current_exe().expect("this test"))
        .arg("keychain::real_keychain_of_the_desktop_keeps_the_key")
        .envs(
            [("HOME", home.path()), ("XDG_DATA_HOME", &data), ("XDG_RUNTIME_DIR", &run), (FOLDER, &save)]
                .map(|(name, folder)| (name, folder.as_os_str().to_owned())),
        )
        .status()
        .expect("it starts");
    assert!(status.success(), "{status}");
}
