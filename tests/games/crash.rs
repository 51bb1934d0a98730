//! A game in a process of its own, which is killed at a moment that the test names: it ends without a word.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bevy_iap::client::OrderState;
use bevy_iap::client::transport::http::HttpTransport;
use bevy_iap::client::transport::{Pending, Request, Transport};
use bevy_iap::plugin::{IapPlugin, Save};
use bevy_iap::prelude::ServerAddress;
use bevy_iap::protocol::{AccountId, PublicKey};
use serde::{Deserialize, Serialize};

use crate::shop::{Game, Shop};

/// Holds what the process is to do.
const ROLE: &str = "BEVY_IAP_TEST_CRASH";

/// When the process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Moment {
    /// The orders are in the journal, and were never sent.
    Queued,
    /// The server has charged the wallet and answered, and the answer is not in the journal yet.
    Answered,
    /// The game has just heard that everything is granted.
    Granted,
}

/// A game that buys a double jump and a shield, and gets as far as its moment.
#[derive(Debug, Serialize, Deserialize)]
struct Role {
    folder: PathBuf,
    save: PathBuf,
    url: String,
    key: PublicKey,
    moment: Moment,
}

/// Runs `test` in another process, in which it must call [`be_killed`], and kills that at `moment`. Gives the account.
pub fn kill_at(moment: Moment, shop: &Shop, save: &str, test: &str) -> AccountId {
    let folder = shop.folder.path().to_owned();
    let (url, key) = (shop.address.url.clone(), shop.address.keys[0]);
    let role = Role { folder, save: shop.save(save), url, key, moment };
    let mut process = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", test, "--nocapture"])
        .env(ROLE, serde_json::to_string(&role).expect("a role"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the process starts");
    let mut lines = BufReader::new(process.stderr.take().expect("piped")).lines().map_while(Result::ok);
    let account = lines.find_map(|line| Some(line.strip_prefix("kill me: ")?.parse().expect("an account")));
    process.kill().expect("killed");
    process.wait().expect("ended");
    account.expect("the game came to its moment")
}

/// Does what this process was started for, until it is killed; nothing, if nobody started it for that.
pub fn be_killed() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let role: Role = serde_json::from_str(&role).expect("a role");
    let server = ServerAddress { url: role.url.clone(), keys: vec![role.key] };
    let transport = CrashingTransport(HttpTransport::new(&role.url).expect("a transport"));
    let mut game = Game::start(
        &role.folder.join("assets"),
        IapPlugin {
            server: Some(server),
            save: Save::Folder(role.save),
            offline: role.moment != Moment::Granted,
            transport: (role.moment == Moment::Answered).then(|| Arc::new(transport) as Arc<dyn Transport>),
            offline_grants: bevy_iap::client::OfflineGrants::Wait,
            ..IapPlugin::new("test_game", "test.catalog.ron")
        },
    );
    game.until("the store is open", |store| store.is_ready());
    let account = game.store().account().expect("open").clone();
    ACCOUNT.set(account.clone()).expect("set once");
    let state = if role.moment == Moment::Granted { OrderState::Granted } else { OrderState::Queued };
    game.buy_until("double_jump", state);
    game.buy_until("shield", state);
    if role.moment == Moment::Answered {
        game.offline(false);
        game.until("the process is killed", |_| false);
    }
    wait_to_be_killed();
}

static ACCOUNT: std::sync::OnceLock<AccountId> = std::sync::OnceLock::new();

/// Says that the moment has come, and does nothing more.
fn wait_to_be_killed() -> ! {
    let account = ACCOUNT.get().expect("set before anything was bought");
    std::io::stderr().write_all(format!("kill me: {account}\n").as_bytes()).expect("the test listens");
    loop {
        std::thread::park();
    }
}

/// HTTP, on which the answer to the first sync is the last thing that happens.
#[derive(Debug)]
struct CrashingTransport(HttpTransport);

impl Transport for CrashingTransport {
    fn send(&self, request: Request) -> Pending {
        let answer = self.0.send(request.clone());
        Box::pin(async move {
            let answer = answer.await?;
            if request.path == "/v1/sync" {
                assert_eq!(answer.status, 200, "the server has settled it");
                wait_to_be_killed();
            }
            Ok(answer)
        })
    }
}
