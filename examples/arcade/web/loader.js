// Loads the game, and passes lines between it and the page.
//
// The game finds the store's address and key in `arcade.server` and `arcade.key`, takes what the player asked of the
// page out of `arcade.commands` (`link`, `join CODE`, `offline`, `online`), and calls `arcade.told` with one line of JSON
// whenever what is shown or known has changed. With `?tell` each of these lines is also logged.

const GAME = "./arcade.js";
const CODE = "arcade_bg.wasm";
/** How long a new version of the page is waited for before the old one is played, and how long the question for one. */
const PATIENCE = { question: 3_000, version: 30_000 };
/** What a reload to a new version leaves behind, so that none follows another. */
const RELOADED = "reloaded";
/** Keys that would move a page on which the game is only a part. */
const SCROLLING = [" ", "ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "PageUp", "PageDown", "Home", "End"];
/** Keys that are the browser's, also while the game has the focus: reload, full screen, developer tools. */
const BROWSERS = ["F5", "F11", "F12"];

const part = (id) => document.getElementById(id);
const canvas = part("arcade");
const controls = [part("link"), part("join").querySelector("button")];
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** What this browser lacks to run the game, in words, or nothing. */
function missing() {
  if (typeof WebAssembly !== "object") {
    return "This game needs WebAssembly, which this browser does not have, or has switched off.";
  }
  const context = document.createElement("canvas").getContext("webgl2");
  if (context === null) {
    return "This game needs WebGL 2. This browser does not have it, or it is switched off, or the graphics driver is not trusted.";
  }
  // A browser has few of them.
  context.getExtension("WEBGL_lose_context")?.loseContext();
  return undefined;
}

function say(words) {
  part("words").textContent = words;
}

/** Draws the curtain, with what went wrong on it. */
function fail(words) {
  say(words);
  part("progress").hidden = true;
  part("curtain").hidden = false;
}

/** Takes a newer version of the page, if there is one and no other tab plays the old one. */
async function renew() {
  if (history.state === RELOADED) {
    history.replaceState(null, "");
    return;
  }
  const registration = await navigator.serviceWorker?.getRegistration();
  if (registration === undefined) return;
  await Promise.race([registration.update(), pause(PATIENCE.question)]);
  const version = registration.installing ?? registration.waiting;
  if (version === null) return;
  say("Loading a new version …");
  await Promise.race([reached(version, "installed"), pause(PATIENCE.version)]);
  if (version.state !== "installed" || !(await takesOver(version))) return;
  await Promise.race([reached(version, "activated"), pause(PATIENCE.version)]);
  history.replaceState(RELOADED, "");
  location.reload();
  await new Promise(() => {});
}

/** Waits until a version of the page has come so far, or has failed. */
function reached(version, state) {
  return new Promise((resolve) => {
    const look = () => [state, "activated", "redundant"].includes(version.state) && resolve();
    version.addEventListener("statechange", look);
    look();
  });
}

function takesOver(version) {
  const { port1, port2 } = new MessageChannel();
  const answer = new Promise((resolve) => {
    port1.onmessage = ({ data }) => resolve(data);
  });
  version.postMessage("take over", [port2]);
  return Promise.race([answer, pause(PATIENCE.question).then(() => false)]);
}

async function download(file) {
  const response = await fetch(file);
  if (!response.ok) throw new Error(`${file} is answered with ${response.status}`);
  return response;
}

/** The same answer, whose bytes are counted as they come. */
function counted(response) {
  // The length is that of what is sent, which is not what arrives here if it was compressed on the way.
  const isCompressed = response.headers.has("Content-Encoding");
  const total = isCompressed ? 0 : Number(response.headers.get("Content-Length"));
  const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
  let loaded = 0;
  const counter = new TransformStream({
    transform(bytes, controller) {
      loaded += bytes.length;
      controller.enqueue(bytes);
      if (total > 0) part("progress").value = Math.min(loaded / total, 1);
      say(`Loading the game: ${megabytes(loaded)} ${total > 0 ? `of ${megabytes(total)} ` : ""}MB`);
    },
    flush: () => say("Starting the game …"),
  });
  return new Response(response.body.pipeThrough(counter), { headers: { "Content-Type": "application/wasm" } });
}

/** Hears what the game says of itself. */
function told(line) {
  const state = JSON.parse(line);
  if (!part("curtain").hidden) begin();
  part("identity").textContent = state.account ? `Account ${state.account}` : state.availability;
  part("keeping").hidden = state.persistence !== "BestEffort";
  const code = state.link_code ? `Link code: ${state.link_code}. Type it on the other device within ten minutes.` : "";
  part("answer").textContent = [code, state.asked].filter(Boolean).join(" ");
  if (new URLSearchParams(location.search).has("tell")) console.log(line);
}

/** The game runs: it is seen, and has the keyboard. */
function begin() {
  part("curtain").hidden = true;
  controls.forEach((control) => (control.disabled = false));
  if (!part("account").contains(document.activeElement)) canvas.focus({ preventScroll: true });
  // Only now, so that what is kept for later does not slow down what is waited for.
  keep().catch((error) => console.warn(`the game is not kept for playing without a network: ${error.message}`));
}

async function keep() {
  await navigator.serviceWorker?.register("sw.js", { updateViaCache: "none" });
}

/** Browsers hold a page's sound back until the player has touched it or pressed a key. */
function unmute() {
  const held = [];
  globalThis.AudioContext = class extends AudioContext {
    constructor(...options) {
      super(...options);
      held.push(this);
    }
  };
  for (const touched of ["pointerup", "keydown"]) {
    addEventListener(touched, () => held.splice(0).forEach((sound) => sound.resume()), { capture: true });
  }
}

function listen() {
  part("link").addEventListener("click", () => arcade.commands.push("link"));
  part("join").addEventListener("submit", (event) => {
    event.preventDefault();
    const code = part("code").value.replace(/[^0-9A-Za-z-]/g, "");
    if (code !== "") arcade.commands.push(`join ${code}`);
  });
  canvas.addEventListener("pointerdown", () => canvas.focus({ preventScroll: true }));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("keydown", (event) => SCROLLING.includes(event.key) && event.preventDefault());
  // Before the game, which takes every key that it hears of.
  addEventListener("keydown", (event) => {
    const isOnCanvas = document.activeElement === canvas;
    if (event.key === "F6") {
      event.preventDefault();
      event.stopImmediatePropagation();
      (isOnCanvas ? part("account").querySelector("summary") : canvas).focus();
    } else if (isOnCanvas && (BROWSERS.includes(event.key) || event.ctrlKey || event.metaKey)) {
      event.stopImmediatePropagation();
    }
  }, { capture: true });
  // Some browsers put a page away that is left, without its lock, and bring it back later: it must look anew.
  addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
  addEventListener("error", ({ error }) => {
    if (!(error instanceof WebAssembly.RuntimeError)) return;
    fail("The game has stopped working. Reload the page to go on; what was bought is kept.");
  });
}

async function start() {
  const lack = missing();
  if (lack !== undefined) return fail(lack);
  if ("AudioContext" in globalThis) unmute();
  listen();
  // Without a network there is nothing newer.
  await renew().catch(() => {});
  say("Loading the game …");
  try {
    const [store, code, game] = await Promise.all([
      download("store.json").then((response) => response.json()),
      download(CODE),
      import(GAME),
    ]);
    globalThis.arcade = { server: store.server, key: store.key, commands: [], told };
    await game.default({ module_or_path: counted(code) });
  } catch (error) {
    console.error(error);
    const advice = navigator.onLine ? "Reload the page to try again." : "There is no network: try again when there is.";
    fail(`The game could not be loaded: ${error.message}. ${advice}`);
  }
}

start();
