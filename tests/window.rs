//! The demo in a real window, by real key presses and clicks of the X server, and what can be seen of it.
//!
//! It needs `Xvfb`, `xdotool` and ImageMagick's `import`, and writes a picture of each step to `target/window`.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take: a renderer in software on a busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(90);

/// A screen in memory with the demo on it.
struct Desktop {
    display: String,
    server: Child,
    demo: Child,
    told: Receiver<Value>,
    last: Value,
    pictures: PathBuf,
}

impl Drop for Desktop {
    fn drop(&mut self) {
        for process in [&mut self.demo, &mut self.server] {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The folder of the build that this test belongs to.
fn build() -> PathBuf {
    let this = env::current_exe().expect("this test is a file");
    this.ancestors().nth(2).expect("in deps, in the build's folder").to_owned()
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("-help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

impl Desktop {
    /// Starts the demo with nothing bought, or says what is missing.
    fn start(language: &str) -> Result<Self, String> {
        if let Some(missing) = ["Xvfb", "xdotool", "import"].into_iter().find(|program| !is_there(program)) {
            return Err(format!("{missing} is not installed"));
        }
        let pictures = build().join("../window");
        std::fs::create_dir_all(&pictures).map_err(|error| error.to_string())?;
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = 200 + std::process::id() % 400 * 2 + STARTED.fetch_add(1, Ordering::Relaxed);
        let display = format!(":{number}");
        let screen = ["-screen", "0", "1280x720x24", "-nolisten", "tcp"];
        let server =
            Command::new("Xvfb").arg(&display).args(screen).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let server = server.map_err(|error| error.to_string())?;
        std::thread::sleep(Duration::from_secs(1));
        let mut demo = Command::new(build().join("examples/arcade"))
            .args(["--fresh", "--tell"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("DISPLAY", &display)
            .env_remove("WAYLAND_DISPLAY")
            .env("LANG", language)
            .env("LC_ALL", language)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("the demo: {error}; `cargo test` builds it"))?;
        let lines = BufReader::new(demo.stdout.take().expect("piped")).lines();
        let (tell, told) = channel();
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .filter_map(|line| serde_json::from_str(&line).ok())
                .all(|it| tell.send(it).is_ok())
        });
        let mut desktop = Self { display, server, demo, told, last: Value::Null, pictures };
        desktop.until("the title", |state| state["screen"] == "Title" && state["connection"] == "Online");
        let windows = desktop.xdotool(&["search", "--onlyvisible", "--name", ".*"]);
        for window in windows.lines() {
            desktop.xdotool(&["windowfocus", "--sync", window]);
        }
        Ok(desktop)
    }

    fn xdotool(&self, arguments: &[&str]) -> String {
        let done =
            Command::new("xdotool").args(arguments).env("DISPLAY", &self.display).output().expect("xdotool runs");
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Waits for what the demo tells.
    fn until(&mut self, what: &str, done: impl Fn(&Value) -> bool) {
        let started = Instant::now();
        while !done(&self.last) {
            let left = PATIENCE.saturating_sub(started.elapsed());
            self.last = self.told.recv_timeout(left).unwrap_or_else(|_| panic!("{what} did not come: {:#}", self.last));
        }
    }

    fn shows(&mut self, text: &str) {
        let shown = |state: &Value| {
            let texts = state["texts"].as_array().into_iter().flatten();
            texts.filter_map(Value::as_str).any(|shown| shown.contains(text))
        };
        self.until(text, shown);
    }

    fn press(&self, key: &str) {
        self.xdotool(&["keydown", key]);
        std::thread::sleep(Duration::from_millis(400));
        self.xdotool(&["keyup", key]);
    }

    /// Holds a key down until the demo tells that it has done something.
    fn hold_until(&mut self, key: &str, what: &str, done: impl Fn(&Value) -> bool) {
        self.xdotool(&["keydown", key]);
        self.until(what, done);
        self.xdotool(&["keyup", key]);
    }

    /// Takes a picture, and says how many colours are in it and how much of it is of the shop's accent, white and veil.
    fn picture(&self, name: &str) -> Picture {
        // What was told is drawn in one of the next frames.
        std::thread::sleep(Duration::from_secs(2));
        let file = self.pictures.join(format!("{name}.png"));
        let taken = Command::new("import").args(["-window", "root"]).arg(&file).env("DISPLAY", &self.display).status();
        assert!(taken.is_ok_and(|status| status.success()), "a picture is taken");
        Picture::read(&file)
    }
}

/// What is in a picture.
struct Picture {
    size: (u32, u32),
    pixels: Vec<[u8; 3]>,
}

impl Picture {
    fn read(file: &Path) -> Self {
        let mut decoder = png::Decoder::new(BufReader::new(std::fs::File::open(file).expect("the picture")));
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let mut reader = decoder.read_info().expect("a picture");
        let mut bytes = vec![0; reader.output_buffer_size().expect("a small picture")];
        let frame = reader.next_frame(&mut bytes).expect("the picture is whole");
        let samples = frame.color_type.samples();
        let pixel = |bytes: &[u8]| if samples < 3 { [bytes[0]; 3] } else { [bytes[0], bytes[1], bytes[2]] };
        let pixels = bytes[..frame.buffer_size()].chunks(samples).map(pixel).collect();
        Self { size: (frame.width, frame.height), pixels }
    }

    /// How many of a thousand pixels of an area (left, top, right, bottom; each of a hundred) are nearly of a colour.
    fn share(&self, [left, top, right, bottom]: [u32; 4], color: [u8; 3]) -> usize {
        let (width, height) = self.size;
        let inside = |place: usize| {
            let (x, y) = (place as u32 % width * 100 / width, place as u32 / width * 100 / height);
            (left..right).contains(&x) && (top..bottom).contains(&y)
        };
        let near = |pixel: &[u8; 3]| pixel.iter().zip(color).all(|(one, other)| one.abs_diff(other) < 24);
        let area: Vec<_> = self.pixels.iter().enumerate().filter(|(place, _)| inside(*place)).collect();
        area.iter().filter(|(_, pixel)| near(pixel)).count() * 1_000 / area.len().max(1)
    }
}

/// The middle of the window.
const MIDDLE: [u32; 4] = [12, 5, 88, 95];
/// The usual theme's ground, card, text and accent.
const PANEL: [u8; 3] = [15, 15, 28];
const CARD: [u8; 3] = [28, 28, 48];
const TEXT: [u8; 3] = [245, 245, 250];
const ACCENT: [u8; 3] = [92, 219, 247];

/// The shop is drawn: its ground and cards, text, and prices in the accent's colour.
fn assert_is_shop(picture: &Picture) {
    for (what, color, least) in [("ground", PANEL, 150), ("card", CARD, 30), ("text", TEXT, 1), ("price", ACCENT, 1)] {
        let share = picture.share(MIDDLE, color);
        assert!(share >= least, "{what}: {share} of a thousand pixels");
    }
}

/// The demo, unless something that it needs is missing; that is a failure where everything must be there.
fn desktop(language: &str) -> Option<Desktop> {
    match Desktop::start(language) {
        Ok(desktop) => Some(desktop),
        Err(missing) if env::var_os("CI").is_none() => {
            eprintln!("SKIPPED, and not passed: {missing}");
            None
        }
        Err(missing) => panic!("{missing}"),
    }
}

fn is_granted(state: &Value, product: &str, count: usize) -> bool {
    let orders = state["orders"].as_array().into_iter().flatten();
    orders.filter(|order| order[0] == product && order[1] == "Granted").count() == count
}

fn has_state(state: &Value, product: &str, wanted: &str) -> bool {
    state["orders"].as_array().into_iter().flatten().any(|order| order[0] == product && order[1] == wanted)
}

#[test]
fn the_shop_is_opened_bought_in_offline_and_back_and_looked_at_in_a_real_window() {
    let Some(mut desktop) = desktop("en_US.UTF-8") else { return };
    let title = desktop.picture("1-title");
    assert!(title.share(MIDDLE, PANEL) < 500, "the game is drawn, and not the shop");

    desktop.press("b");
    desktop.shows("€0.005");
    let shelf = desktop.picture("2-shelf");
    assert_is_shop(&shelf);

    // By mouse: a card, and its button held down.
    desktop.xdotool(&["mousemove", "240", "330"]);
    std::thread::sleep(Duration::from_millis(500));
    desktop.xdotool(&["mousedown", "1"]);
    std::thread::sleep(Duration::from_millis(500));
    desktop.xdotool(&["mouseup", "1"]);
    desktop.until("a product's page", |state| state["page"].as_str().is_some_and(|page| page.starts_with("Product")));
    desktop.press("Escape");
    desktop.until("the shelf", |state| state["page"] == "Shelf");

    // By keyboard: the shield is the first.
    desktop.press("Return");
    desktop.until("a product's page", |state| state["page"].as_str().is_some_and(|page| page.starts_with("Product")));
    assert_is_shop(&desktop.picture("3-product"));
    let product = desktop.last["page"].as_str().unwrap_or_default().split('"').nth(1).unwrap_or("shield").to_owned();
    desktop.hold_until("Return", "the receipt", |state| is_granted(state, &product, 1));
    desktop.shows("It is yours. The receipt is verified.");
    assert_is_shop(&desktop.picture("4-receipt"));

    // Offline: out of the shop, O, and in again.
    desktop.press("Escape");
    desktop.press("Escape");
    desktop.until("the shop is closed", |state| state["open"] == false);
    desktop.press("o");
    desktop.until("it is offline", |state| state["connection"] == "Offline");
    desktop.press("b");
    desktop.shows("Offline.");
    desktop.press("Return");
    desktop.until("a product's page", |state| state["page"].as_str().is_some_and(|page| page.starts_with("Product")));
    desktop.hold_until("Return", "it is queued", |state| has_state(state, &product, "Queued"));
    desktop.shows("One order is queued");
    assert_is_shop(&desktop.picture("5-offline"));

    desktop.press("Escape");
    desktop.press("Escape");
    desktop.until("the shop is closed", |state| state["open"] == false);
    desktop.press("o");
    desktop.until("both are granted", |state| is_granted(state, &product, 2));
    assert!(desktop.picture("6-back").share(MIDDLE, PANEL) < 500, "the game is drawn again");
}

#[test]
fn the_shop_is_korean_where_the_system_is() {
    let Some(mut desktop) = desktop("ko_KR.UTF-8") else { return };
    desktop.press("b");
    desktop.shows("상점");
    desktop.shows("방패");
    assert_is_shop(&desktop.picture("7-korean"));
}
