//! A store and its customer in one process, frame by frame: `cargo run --example headless_server_and_client`

use std::time::{Duration, Instant};

use bevy::prelude::*;
use bevy_iap::prelude::*;
use bevy_iap::protocol::{Catalog, Receipt, Token};
use bevy_iap::server::{LocalServer, ServerConfig};

fn main() -> Result {
    // The server: it has its key and its books in a folder.
    let folder = tempfile::tempdir()?;
    let catalog = Catalog::parse("examples.catalog.ron", include_str!("../assets/examples.catalog.ron"))?;
    let welcome = Some("1.00EUR".parse()?);
    let server = LocalServer::start(ServerConfig { welcome, ..ServerConfig::new(folder.path(), catalog) })?;
    println!("serving at {} with the key {}", server.url(), server.public_key());

    // The client: an app without a window, run by hand.
    let plugin = IapPlugin {
        server: Some(ServerAddress::new(&server.url(), &server.public_key().to_string())?),
        save: Save::Memory(default()),
        ..IapPlugin::new("examples", "examples.catalog.ron")
    };
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, AssetPlugin::default(), plugin));
    app.finish();
    app.cleanup();
    let order = wait_for(&mut app, |store| store.is_ready().then(|| store.purchase("double_jump")))??;
    let text = wait_for(&mut app, |store| {
        let receipt = store.receipts().iter().find(|receipt| receipt.claims.order == order)?;
        Some(receipt.token.to_string())
    })?;
    println!("the signed receipt:\n{text}");

    // Anybody who has the server's key can verify it: a back end, a support desk, the player.
    let receipt = Receipt::verify(&Token::from_text(&text), &[server.public_key()], &"examples".parse()?)?;
    println!("verified: {} of {} for {}, {:?}", receipt.quantity, receipt.product, receipt.amount, receipt.status);

    // The operator's side: the books add up, and every signature in them is right.
    let report = server.audit()?;
    println!("audit: {report}");
    if report.is_clean() { Ok(()) } else { Err("the books are wrong".into()) }
}

/// Runs frames until the store has an answer.
fn wait_for<T>(app: &mut App, mut answer: impl FnMut(&mut Store) -> Option<T>) -> Result<T> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        app.update();
        if let Some(answer) = answer(&mut app.world_mut().resource_mut::<Store>()) {
            return Ok(answer);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err("gave up".into())
}
