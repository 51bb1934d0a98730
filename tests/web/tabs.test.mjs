// Two tabs of one browser: one buys, the other looks on, and takes over.

import assert from "node:assert/strict";
import { test } from "node:test";
import { SMALL, Player, browser, count, shareWorld, world } from "./harness.mjs";

/** How long it may take until the other tab has taken over. */
const TAKEN_OVER = 2_000;

shareWorld();

test("a second tab is read-only, says so, and takes over when the first is closed or crashes", async () => {
  const context = await browser.newContext(SMALL);
  const first = await Player.join(context, world);
  const { device } = await first.isOnline();
  await first.buyFirst("Granted");

  const second = await Player.join(context, world);
  await second.until("it is read-only", ({ connection }) => connection === "ReadOnly");
  assert.equal(second.state.device, device);
  assert.equal(second.state.shield, 1);
  assert.match(second.state.availability, /tab/);
  await second.press("b");
  await second.shows("You can look, but not buy");
  await second.picture("8-second-tab");
  await second.press("Escape");
  assert.equal(second.state.orders.length, 1);

  await takesOver(second, () => first.page.close());
  await second.buyFirst("Granted");
  await second.picture("8-took-over");

  const third = await Player.join(context, world);
  await third.until("it is read-only", ({ connection }) => connection === "ReadOnly");
  assert.equal(third.state.shield, 2);
  const devtools = await context.newCDPSession(second.page);
  // A page that has crashed answers nothing any more.
  await takesOver(third, () => void devtools.send("Page.crash").catch(() => {}));
  await third.buyFirst("Granted");
  assert.equal(third.state.shield, 3);
  assert.equal((await world.audit()).orders, 3);
  second.assertIsWell();
  third.assertIsWell();
  await context.close();
});

test("a page that another has overtaken unheard writes nothing over it, and goes on when that is closed", async () => {
  const context = await browser.newContext(SMALL);
  const player = await Player.join(context, world);
  await player.isOnline();
  await player.buyFirst("Granted");
  const rows = (mark) => player.page.evaluate(async (mark) => {
    const done = (request) => new Promise((resolve, reject) => {
      [request.onsuccess, request.onerror] = [() => resolve(request.result), () => reject(request.error)];
    });
    const database = await done(indexedDB.open("bevy_iap/arcade"));
    const stores = database.transaction(["keys", "journal"], "readwrite");
    if (mark) await done(stores.objectStore("keys").put(new Uint8Array(16), "writer"));
    const count = await done(stores.objectStore("journal").count());
    database.close();
    return count;
  }, mark);
  // As the page does that has the lock now.
  const before = await rows(true);
  await player.openFirstProduct();
  const isRefused = ({ orders }) => orders.some(([, state]) => state === "NotSaved");
  await player.holdUntil("Enter", "it is refused", isRefused);
  // Nobody has the lock, so it is this page's again, which reads what is kept anew.
  const refused = player.heard.findIndex(isRefused);
  await player.isOnline();
  const looked = player.heard.slice(refused).find(({ connection }) => connection === "ReadOnly");
  assert.match(looked?.availability ?? "it never looked on", /open in another tab/);
  assert.equal(await rows(false), before);
  assert.equal(count(player.state, "shield", "Granted"), 1);
  await player.leaveShop();
  await player.buyFirst("Granted");
  assert.equal(player.state.shield, 2);

  await player.reload();
  await player.isOnline();
  assert.equal(count(player.state, "shield", "Granted"), 2);
  assert.equal((await world.audit()).orders, 5);
  player.assertIsWell();
  await context.close();
});

async function takesOver(player, end) {
  const began = performance.now();
  await end();
  await player.until("it takes over", ({ connection }) => connection !== "ReadOnly");
  const taken = performance.now() - began;
  assert.ok(taken <= TAKEN_OVER, `it took ${Math.round(taken)} ms to take over`);
  await player.isOnline();
}
