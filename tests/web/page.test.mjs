// The page around the game: it loads, says what is wrong, has the focus right, and is kept for playing without a network.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PATIENCE, SMALL, Player, browser, pause, shareWorld, startBrowser, world } from "./harness.mjs";

shareWorld();

/** Opens the page after something was done to its browser, and waits for words on its curtain. */
async function says(words, prepare, argument) {
  const context = await browser.newContext(SMALL);
  const page = await context.newPage();
  await page.addInitScript(prepare, argument);
  await page.goto(world.address, { waitUntil: "commit" });
  await page.locator("#words", { hasText: words }).waitFor({ timeout: PATIENCE });
  assert.ok(await page.locator("#curtain").isVisible());
  await context.close();
}

test("the game loads, fills the window at two pixels to a point, and has the keyboard", async (t) => {
  // A real window of a screen with two pixels to a point: where a test only pretends that there are two, Chromium does
  // not tell the canvas.
  const dense = await startBrowser("--force-device-scale-factor=2", "--window-size=640,450");
  t.after(() => dense.close());
  const context = await dense.newContext({ viewport: null });
  const player = await Player.join(context, world);
  await player.isOnline();
  assert.equal(await player.page.locator("#curtain").isVisible(), false);
  assert.equal(await player.page.evaluate(() => document.activeElement.id), "arcade");
  await player.picture("1-title");

  const devtools = await context.newCDPSession(player.page);
  const { windowId } = await devtools.send("Browser.getWindowForTarget");
  for (const bounds of [{ width: 800, height: 500 }, { width: 500, height: 700 }]) {
    await devtools.send("Browser.setWindowBounds", { windowId, bounds });
    await player.page.waitForFunction(({ width }) => {
      const canvas = document.getElementById("arcade");
      const { clientWidth, clientHeight } = canvas;
      // The height of the bar below it need not be a whole number.
      const isDrawn = canvas.width === 2 * clientWidth && Math.abs(canvas.height - 2 * clientHeight) <= 1;
      return clientWidth === width && isDrawn;
    }, bounds, { timeout: PATIENCE });
    const [height, page, window] = await player.page.evaluate(() => {
      return [document.getElementById("arcade").clientHeight, document.documentElement.scrollHeight, innerHeight];
    });
    assert.ok(height > window - 60 && page <= window, `${height} and ${page} of ${window}`);
  }
  player.assertIsWell();
});

test("keys belong to the game, F6 leads out of it and back, and nothing scrolls", async () => {
  const context = await browser.newContext(SMALL);
  const player = await Player.join(context, world);
  const focused = () => player.page.evaluate(() => document.activeElement.id || document.activeElement.localName);
  await player.press("ArrowDown");
  await player.press("Tab");
  assert.equal(await focused(), "arcade");
  assert.equal(await player.page.evaluate(() => scrollY), 0);
  await player.press("F6");
  assert.equal(await focused(), "summary");
  await player.press("F6");
  assert.equal(await focused(), "arcade");
  await player.openAccount();
  assert.notEqual(await focused(), "arcade");
  await player.page.locator("#arcade").click({ position: { x: 5, y: 5 } });
  assert.equal(await focused(), "arcade");
  await context.close();
});

test("sound is off until the player turns it on, and is heard then", async () => {
  const context = await browser.newContext(SMALL);
  await context.addInitScript(() => {
    globalThis.loudest = 0;
    const start = AudioBufferSourceNode.prototype.start;
    AudioBufferSourceNode.prototype.start = function (...times) {
      const samples = this.buffer.getChannelData(0);
      if (this.context.state === "running") loudest = samples.reduce((most, it) => Math.max(most, Math.abs(it)), loudest);
      return start.call(this, ...times);
    };
  });
  const jump = async (player) => {
    await player.press("Enter");
    await player.press("Space");
  };
  const silent = await Player.join(context, world);
  await jump(silent);
  await pause(1_000);
  assert.equal(await silent.page.evaluate(() => loudest), 0);
  await silent.page.close();

  const player = await Player.join(context, world);
  for (const key of ["ArrowDown", "ArrowDown", "Enter", "ArrowDown", "ArrowDown", "ArrowDown", "Enter", "Escape"]) {
    await player.press(key);
  }
  await jump(player);
  await player.page.waitForFunction(() => loudest > 0.1, null, { timeout: PATIENCE });
  player.assertIsWell();
  await context.close();
});

test("bytes are counted with and without a length", async () => {
  const withLength = /^Loading the game: \d+\.\d of \d+\.\d MB$/;
  const withoutLength = /^Loading the game: \d+\.\d MB$/;
  for (const [isCompressed, expected] of [[false, withLength], [true, withoutLength]]) {
    const context = await browser.newContext(SMALL);
    await context.addInitScript((isCompressed) => {
      globalThis.said = [];
      addEventListener("DOMContentLoaded", () => {
        const words = document.getElementById("words");
        new MutationObserver(() => said.push(words.textContent)).observe(words, { childList: true });
      });
      const whole = fetch;
      globalThis.fetch = async (...request) => {
        const response = await whole(...request);
        return isCompressed ? new Response(response.body, { headers: { "Content-Encoding": "gzip" } }) : response;
      };
    }, isCompressed);
    const player = await Player.join(context, world);
    const said = await player.page.evaluate(() => globalThis.said);
    assert.ok(said.some((words) => expected.test(words)), JSON.stringify(said));
    await context.close();
  }
});

test("a browser without WebAssembly is told so", () => says("needs WebAssembly", () => delete globalThis.WebAssembly));

test("a browser without WebGL 2 is told so", () => {
  return says("needs WebGL 2", () => {
    const context = HTMLCanvasElement.prototype.getContext;
    HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
      return kind === "webgl2" ? null : context.call(this, kind, ...rest);
    };
  });
});

test("a game that cannot be loaded is said to be so", () => {
  return says("The game could not be loaded", () => {
    const whole = fetch;
    globalThis.fetch = (file, ...rest) => {
      return String(file).endsWith(".wasm") ? Promise.resolve(new Response("", { status: 503 })) : whole(file, ...rest);
    };
  });
});

test("a new version is taken by one reload, and by none while another tab plays the old one", async () => {
  const context = await browser.newContext(SMALL);
  const one = await Player.join(context, world);
  await one.isKept();
  const old = await one.page.title();

  await world.publish("The second version");
  await one.reload();
  assert.equal(await one.page.title(), "The second version");
  assert.notEqual(old, "The second version");

  const two = await Player.join(context, world);
  await world.publish("The third version");
  await two.reload();
  assert.equal(await two.page.title(), "The second version");
  // What the page tells that is left is not taken for what the next one tells.
  await two.page.evaluate((line) => setInterval(() => console.log(line), 1), JSON.stringify(two.state));
  await one.page.close();
  await two.reload();
  assert.equal(await two.page.title(), "The third version");
  await context.close();
});
