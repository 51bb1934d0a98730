//! The other end of the game's process: starts it, tells it what to do, hears what happened, kills it.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use bevy_iap::client::OrderState;
use bevy_iap::plugin::Store;
use bevy_iap::protocol::Token;
use bevy_iap::server::LocalServer;
use serde::{Deserialize, Serialize};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How things stand for a player.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// All orders.
    pub orders: usize,
    /// Those that wait for a receipt.
    pub queued: usize,
    /// Those that a receipt grants.
    pub granted: usize,
    /// Those that a receipt declines.
    pub declined: usize,
    /// Those whose grants no receipt backs yet.
    pub provisional: Vec<String>,
    /// Shields left.
    pub shields: u64,
    /// The wallet, as last heard.
    pub wallet: String,
}

impl Standing {
    /// Reads it off the store.
    pub fn of(store: &Store) -> Self {
        let count = |wanted: fn(OrderState) -> bool| store.orders().filter(|order| wanted(order.state)).count();
        let provisional = store.orders().filter(|order| order.provisional).map(|order| order.id.to_string());
        let wallet = store.wallet().iter().map(|balance| format!("{} {}", balance.available, balance.currency));
        Self {
            orders: store.orders().count(),
            queued: count(OrderState::is_open),
            granted: count(|state| state == OrderState::Granted),
            declined: count(|state| state == OrderState::Declined),
            provisional: provisional.collect(),
            shields: store.quantity("shield"),
            wallet: wallet.collect::<Vec<_>>().join(", "),
        }
    }
}

/// A game's process.
pub struct Player {
    process: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Player {
    /// Starts a game on the save folder `save`, and waits until it can buy.
    pub fn start(save: &Path, server: &LocalServer) -> Result<Self, Box<dyn Error>> {
        Self::spawn(save, server, "online")
    }

    /// The same, set offline before it sends anything.
    pub fn start_offline(save: &Path, server: &LocalServer) -> Result<Self, Box<dyn Error>> {
        Self::spawn(save, server, "offline")
    }

    fn spawn(save: &Path, server: &LocalServer, connection: &str) -> Result<Self, Box<dyn Error>> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("--client")
            .arg(save)
            .args([&server.url(), &server.public_key().to_string(), connection])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take().ok_or("the game has no standard input")?;
        let output = process.stdout.take().ok_or("the game has no standard output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut player = Self { process, input, lines };
        player.hear(|line| (line == "ready").then_some(()))?;
        Ok(player)
    }

    /// Sends a command.
    pub fn tell(&mut self, command: &str) -> Result<(), Box<dyn Error>> {
        Ok(writeln!(self.input, "{command}").and_then(|()| self.input.flush())?)
    }

    /// The next line, if one comes within `limit`.
    pub fn line(&mut self, limit: Duration) -> Option<String> {
        self.lines.recv_timeout(limit).ok()
    }

    /// Reads lines until one is what is waited for.
    fn hear<T>(&mut self, mut wanted: impl FnMut(&str) -> Option<T>) -> Result<T, Box<dyn Error>> {
        loop {
            let line = self.line(PATIENCE).ok_or("the game said nothing for a minute, or ended")?;
            if let Some(found) = wanted(&line) {
                return Ok(found);
            }
            if let Some(reason) = line.strip_prefix("refused ").or(line.strip_prefix("trouble ")) {
                return Err(reason.into());
            }
        }
    }

    /// Buys, and waits until the order is in `state`.
    pub fn buy_until(&mut self, product: &str, state: &str) -> Result<(), Box<dyn Error>> {
        self.tell(&format!("buy {product}"))?;
        let order = self.hear(|line| line.strip_prefix("placed ").map(str::to_owned))?;
        let wanted = format!("order {order} {product} {state}");
        self.hear(|line| (line == wanted).then_some(()))?;
        println!("{product}: {}", state.to_lowercase());
        Ok(())
    }

    /// How things stand now.
    pub fn standing(&mut self) -> Result<Standing, Box<dyn Error>> {
        self.tell("standing")?;
        let json = self.hear(|line| line.strip_prefix("standing ").map(str::to_owned))?;
        Ok(serde_json::from_str(&json)?)
    }

    /// Asks how things stand until they are as they should be.
    pub fn until(&mut self, what: &str, done: impl Fn(&Standing) -> bool) -> Result<(), Box<dyn Error>> {
        let started = Instant::now();
        while !done(&self.standing()?) {
            if started.elapsed() > PATIENCE {
                return Err(format!("it did not happen within a minute that {what}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The receipts that the game holds.
    pub fn receipts(&mut self) -> Result<Vec<Token>, Box<dyn Error>> {
        self.tell("receipts")?;
        let mut receipts = Vec::new();
        self.hear(|line| {
            receipts.extend(line.strip_prefix("receipt ").map(Token::from_text));
            (line == "receipts").then_some(())
        })?;
        Ok(receipts)
    }

    /// Kills the process, which hears nothing of it.
    pub fn kill(mut self) -> Result<(), Box<dyn Error>> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Kills the process, and returns everything that it said before.
    pub fn kill_and_hear(mut self) -> Result<Vec<String>, Box<dyn Error>> {
        self.process.kill()?;
        self.process.wait()?;
        drop(self.input);
        Ok(self.lines.iter().collect())
    }
}
