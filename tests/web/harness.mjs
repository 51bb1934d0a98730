// What the tests of the page share: a store and a page of their own, browsers, and players who hear what the game tells.
//
// `tools/web test` names the built page, the server, the browser and where the pictures go.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { after, before } from "node:test";
import { promisify } from "node:util";

const { WEB_SITE, WEB_PICTURES, WEB_MODULES, IAP_SERVER, CHROMIUM } = process.env;
const { chromium } = createRequire(join(resolve(WEB_MODULES), "index.js"))("playwright-core");
const PAGE = resolve(import.meta.dirname ?? new URL(".", import.meta.url).pathname, "../../tools/web_page.py");
const CATALOG = "assets/arcade.catalog.ron";
const ARGUMENTS = [
  "--no-sandbox",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // Two tabs of a page are two processes, so that one can crash alone.
  "--disable-features=ProcessPerSiteUpToMainFrameThreshold",
  // A graphics card in software.
  "--use-gl=angle",
  "--use-angle=swiftshader",
  "--enable-unsafe-swiftshader",
];

/** How long anything may take: a renderer in software on a busy machine is slow. */
export const PATIENCE = 60_000;

export const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

const run = promisify(execFile);

/** Starts a program and waits for a line that begins with these words; gives the process and the rest of that line. */
async function started(program, words, ...expected) {
  const process = spawn(program, words, { stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  process.stderr.on("data", (text) => (log += text));
  const found = [];
  for await (const line of createInterface({ input: process.stdout })) {
    if (line.startsWith(expected[found.length])) found.push(line.slice(expected[found.length].length).trim());
    if (found.length === expected.length) {
      process.stdout.resume();
      return [process, ...found];
    }
  }
  throw new Error(`${program} ${words.join(" ")} ended: ${log}`);
}

async function ended(process, signal) {
  if (process.exitCode !== null || process.signalCode !== null) return;
  process.kill(signal);
  await once(process, "exit");
}

/** A store, and a page that sells from it, on ports of this computer that nobody else uses. */
export class World {
  static async start({ welcome = "0.20EUR" } = {}) {
    const world = new World();
    world.folder = await mkdtemp(join(tmpdir(), "arcade-"));
    world.site = join(world.folder, "site");
    world.books = join(world.folder, "books");
    await cp(WEB_SITE, world.site, { recursive: true });
    await world.openPage(0);
    const words = ["serve", "--catalog", CATALOG, "--data", world.books, "--listen", "127.0.0.1:0"];
    const limits = ["--welcome", welcome, "--allow-origin", world.address];
    [world.store, world.server, world.key] = await started(IAP_SERVER, [...words, ...limits], "url", "public key");
    await world.stamp();
    return world;
  }

  /** Serves the page at a port, or at any free one for 0. */
  async openPage(port) {
    const words = ["serve", this.site, "--port", String(port)];
    [this.page, this.address] = await started(PAGE, words, "");
  }

  /** From here on, what a browser shows of the page comes out of the browser. */
  async closePage() {
    await ended(this.page, "SIGKILL");
  }

  async reopenPage() {
    await this.openPage(new URL(this.address).port);
  }

  /** Lists the files of the page anew. */
  async stamp() {
    await run(PAGE, ["stamp", this.site, "--server", this.server, `--key=${this.key}`]);
  }

  /** Puts up another version of the page, with this title. */
  async publish(title) {
    const file = join(this.site, "index.html");
    const page = await readFile(file, "utf8");
    await writeFile(file, page.replace(/<title>.*<\/title>/, `<title>${title}</title>`));
    await this.stamp();
  }

  /** What the server's audit counts; it fails if anything is wrong with the books. */
  async audit() {
    const { stdout } = await run(IAP_SERVER, ["audit", "--data", this.books]);
    assert.match(stdout, /no differences/);
    return Object.fromEntries([...stdout.matchAll(/(\d+) (\w+)/g)].map(([, count, what]) => [what, Number(count)]));
  }

  async stop() {
    await Promise.all([ended(this.page, "SIGKILL"), ended(this.store, "SIGTERM")]);
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** A browser without a window, whose contexts are as private windows are. */
export function startBrowser(...more) {
  return chromium.launch({ executablePath: CHROMIUM, args: [...ARGUMENTS, ...more] });
}

/** A window in which software draws quickly. */
export const SMALL = { viewport: { width: 640, height: 360 }, locale: "en-US" };

/** The world and the browser of a file of tests, from its first test to its last. */
export let world, browser;

export function shareWorld() {
  before(async () => {
    [world, browser] = await Promise.all([World.start(), startBrowser()]);
  });
  after(async () => {
    await browser?.close();
    await world?.stop();
  });
}

/** A whole browser with a profile on the disk, in processes of its own that can be killed. */
export class Installed {
  static async start(profile) {
    const words = [...ARGUMENTS, "--headless", "--window-size=640,450", "--remote-debugging-port=0", `--user-data-dir=${profile}`, "about:blank"];
    const process = spawn(CHROMIUM, words, { stdio: ["ignore", "ignore", "pipe"], detached: true });
    const installed = new Installed();
    installed.process = process;
    for await (const line of createInterface({ input: process.stderr })) {
      const address = line.match(/^DevTools listening on (.*)$/)?.[1];
      if (address === undefined) continue;
      process.stderr.resume();
      installed.browser = await chromium.connectOverCDP(address, { timeout: PATIENCE });
      [installed.context] = installed.browser.contexts();
      return installed;
    }
    throw new Error(`${CHROMIUM} has ended`);
  }

  /** Kills all of its processes at once, which hear nothing of it. */
  async kill() {
    const gone = once(this.process, "exit");
    process.kill(-this.process.pid, "SIGKILL");
    await gone;
    await this.browser.close().catch(() => {});
  }
}

/** Somebody who plays in a tab, and hears everything that the game tells. */
export class Player {
  static async join(context, world) {
    const player = new Player();
    player.page = await context.newPage();
    player.listen();
    await player.load(() => player.page.goto(`${world.address}/?tell`, { waitUntil: "commit" }));
    return player;
  }

  listen() {
    this.news = new EventEmitter();
    /** What the browser logged beside what was told. */
    this.log = [];
    this.forget();
    // A page that is left may tell something still while the next one is asked for.
    this.page.on("framenavigated", (frame) => frame === this.page.mainFrame() && this.forget());
    this.page.on("console", (message) => {
      const text = message.text();
      if (text.startsWith("{")) {
        this.state = JSON.parse(text);
        this.heard.push(this.state);
        this.news.emit("told");
      } else {
        this.log.push(text);
      }
    });
    this.page.on("pageerror", (error) => this.log.push(`uncaught: ${error.message}`));
  }

  forget() {
    /** The last that was told, and all that was told since the page was loaded. */
    this.state = undefined;
    this.heard = [];
  }

  /** Loads the page, and waits until the game runs and has opened its journal, or has said that it cannot. */
  async load(go) {
    await go();
    const hasLooked = ({ device, availability }) => device || /could not be opened/.test(availability);
    await this.until("the title", (state) => state.screen === "Title" && hasLooked(state));
  }

  async reload() {
    await this.load(() => this.page.reload({ waitUntil: "commit" }));
  }

  /** Waits until the page is kept in the browser. */
  async isKept() {
    await this.page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
  }

  /** Waits for what the game tells. */
  async until(what, done, limit = PATIENCE) {
    const signal = AbortSignal.timeout(limit);
    while (!(this.state && done(this.state))) {
      await once(this.news, "told", { signal }).catch(() => {
        const log = this.log.slice(-20).join("\n");
        throw new Error(`${what} did not come. Last told: ${JSON.stringify(this.state, null, 1)}\nLogged:\n${log}`);
      });
    }
    return this.state;
  }

  shows(text) {
    return this.until(`"${text}"`, ({ texts }) => texts.some((shown) => shown.includes(text)));
  }

  isOnline() {
    return this.until("the server's answer", ({ connection, account }) => connection === "Online" && account);
  }

  async press(key) {
    await this.page.keyboard.down(key);
    await pause(400);
    await this.page.keyboard.up(key);
  }

  /** Holds a key down until the game tells that it has done something. */
  async holdUntil(key, what, done) {
    await this.page.keyboard.down(key);
    await this.until(what, done);
    await this.page.keyboard.up(key);
  }

  /** Where on the page a text is shown by the game. */
  async place(text) {
    const { texts, places } = await this.shows(text);
    const [x, y] = places[texts.findIndex((shown) => shown.includes(text))];
    const canvas = await this.page.locator("#arcade").boundingBox();
    return { x: canvas.x + x, y: canvas.y + y };
  }

  /** Touches a text for a moment, or until the game tells that it has done something. */
  async touch(text, what = undefined, done = undefined) {
    const point = await this.place(text);
    const devtools = await this.page.context().newCDPSession(this.page);
    await devtools.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: [point] });
    await (done ? this.until(what, done) : pause(200));
    await devtools.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
    await devtools.detach();
  }

  /** The same by mouse. */
  async click(text, what = undefined, done = undefined) {
    const { x, y } = await this.place(text);
    await this.page.mouse.move(x, y);
    await pause(400);
    await this.page.mouse.down();
    await (done ? this.until(what, done) : pause(400));
    await this.page.mouse.up();
  }

  /** Opens the shop and the first product's page by keyboard; gives the product. */
  async openFirstProduct() {
    await this.press("b");
    await this.shows("€0.005");
    await this.press("Enter");
    const { page } = await this.until("a product's page", ({ page }) => page.startsWith("Product"));
    return page.split('"')[1];
  }

  async leaveShop() {
    await this.press("Escape");
    await this.until("the shelf", ({ page }) => page === "Shelf");
    await this.press("Escape");
    await this.until("the shop is closed", ({ open }) => !open);
  }

  /** Buys one of the first product, up to this state, and leaves the shop. */
  async buyFirst(state) {
    const before = this.state;
    const product = await this.openFirstProduct();
    const wanted = count(before, product, state) + 1;
    await this.holdUntil("Enter", `${product} is ${state}`, (now) => count(now, product, state) >= wanted);
    await this.leaveShop();
    return product;
  }

  async openAccount() {
    await this.page.locator("#account summary").click();
  }

  /** Closes the bar, and gives the keyboard back to the game. */
  async closeAccount() {
    await this.page.locator("#account summary").click();
    await this.page.keyboard.press("F6");
  }

  /** Takes a picture of the canvas, and says what is in it. */
  async picture(name) {
    // What was told is drawn in one of the next frames.
    await pause(2_000);
    const bytes = await this.page.screenshot({ path: join(WEB_PICTURES, `${name}.png`), timeout: PATIENCE });
    const canvas = await this.page.locator("#arcade").boundingBox();
    const helper = await this.page.context().newPage();
    const picture = await helper.evaluate(looked, { base64: bytes.toString("base64"), canvas });
    await helper.close();
    assert.ok(picture.colours > 50, `${name} is nearly empty: it has ${picture.colours} colours`);
    return picture;
  }

  /** Nothing went wrong that no test has asked for. */
  assertIsWell() {
    const bad = this.log.filter((line) => /^uncaught:|Content Security Policy|panicked/.test(line));
    assert.deepEqual(bad, []);
  }
}

/** How many orders of a product are in a state. */
export function count(state, product, wanted) {
  return state.orders.filter(([name, now]) => name === product && now === wanted).length;
}

/** In the browser: how many colours a picture has, and how much of its middle is of some of the shop's, in a thousand. */
async function looked({ base64, canvas }) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const [width, height] = [Math.floor(canvas.width), Math.floor(canvas.height)];
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(bitmap, canvas.x, canvas.y, width, height, 0, 0, width, height);
  const pixels = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
  // The usual theme's ground, card, text and accent.
  const wanted = { ground: [15, 15, 28], card: [28, 28, 48], text: [245, 245, 250], accent: [92, 219, 247] };
  const counts = { ground: 0, card: 0, text: 0, accent: 0 };
  const [left, right, top, bottom] = [width * 0.12, width * 0.88, height * 0.05, height * 0.95];
  let middle = 0;
  pixels.forEach((pixel, place) => {
    const [x, y] = [place % width, Math.floor(place / width)];
    if (x < left || x >= right || y < top || y >= bottom) return;
    middle += 1;
    const parts = [pixel & 255, (pixel >> 8) & 255, (pixel >> 16) & 255];
    for (const [name, colour] of Object.entries(wanted)) {
      if (parts.every((part, index) => Math.abs(part - colour[index]) < 24)) counts[name] += 1;
    }
  });
  const share = Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, (count * 1_000) / middle]));
  return { colours: new Set(pixels).size, share };
}

/** The shop is drawn: its ground and cards, text, and prices in the accent's colour. */
export function assertIsShop({ share }) {
  for (const [what, least] of [["ground", 150], ["card", 30], ["text", 1], ["accent", 1]]) {
    assert.ok(share[what] >= least, `${what}: ${share[what]} of a thousand pixels`);
  }
}
