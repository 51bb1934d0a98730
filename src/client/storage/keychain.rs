//! Where the operating system keeps secrets for whoever is logged in: the device's key can be there instead of in a
//! file.

use std::fmt::Debug;

#[cfg(feature = "keychain")]
pub use system::SystemKeychain;

/// A place for secrets, each under a name. Called on the worker's thread; a system may ask the player for a password
/// before it answers, and takes as long as the player does.
pub trait Keychain: Debug + Send + 'static {
    /// The secret called `name`, if there is one.
    ///
    /// # Errors
    /// The keychain cannot be read now: it is locked, or not there. In words.
    fn read(&self, name: &str) -> Result<Option<String>, String>;

    /// Keeps a secret, in the place of the last one of this name.
    ///
    /// # Errors
    /// It cannot be written now, in words. Whether the secret is there is not known.
    fn write(&self, name: &str, secret: &str) -> Result<(), String>;

    /// Forgets a secret, if it is there.
    ///
    /// # Errors
    /// It cannot be written now, in words.
    fn remove(&self, name: &str) -> Result<(), String>;
}

#[cfg(feature = "keychain")]
mod system {
    use keyring::{Entry, Error};

    use super::Keychain;

    /// Whose secrets these are, as the system shows it to the player.
    const SERVICE: &str = "bevy_iap";

    /// The keychain of macOS, the credential manager of Windows, or the secret service of a Linux desktop.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct SystemKeychain;

    fn entry(name: &str) -> Result<Entry, String> {
        Entry::new(SERVICE, name).map_err(|error| error.to_string())
    }

    impl Keychain for SystemKeychain {
        fn read(&self, name: &str) -> Result<Option<String>, String> {
            match entry(name)?.get_password() {
                Ok(secret) => Ok(Some(secret)),
                Err(Error::NoEntry) => Ok(None),
                Err(error) => Err(error.to_string()),
            }
        }

        fn write(&self, name: &str, secret: &str) -> Result<(), String> {
            entry(name)?.set_password(secret).map_err(|error| error.to_string())
        }

        fn remove(&self, name: &str) -> Result<(), String> {
            match entry(name)?.delete_credential() {
                Ok(()) | Err(Error::NoEntry) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        }
    }
}
