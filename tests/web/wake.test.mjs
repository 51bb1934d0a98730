// What has the store asked while the page's own timers rest: the network that is back, and the player who looks again.

import assert from "node:assert/strict";
import { test } from "node:test";
import { SMALL, Player, browser, count, pause, shareWorld, world } from "./harness.mjs";

shareWorld();

/** A player with an order that could not be sent, and whose page has no timer left that would try it again. */
async function withAnOrderThatWaits(context, cutOff) {
  await context.addInitScript(() => {
    const start = setTimeout;
    globalThis.timersRest = false;
    globalThis.setTimeout = (...timer) => (timersRest ? 0 : start(...timer));
  });
  const player = await Player.join(context, world);
  await player.isOnline();
  await cutOff();
  await player.page.evaluate(() => (timersRest = true));
  const product = await player.openFirstProduct();
  const waits = (state) => count(state, product, "Queued") + count(state, product, "Sent") === 1;
  await player.holdUntil("Enter", "it waits", waits);
  await player.until("it could not be sent", ({ connection }) => connection !== "Online");
  return [player, product];
}

test("an order is sent as soon as the network is back", async () => {
  const context = await browser.newContext(SMALL);
  const [player, product] = await withAnOrderThatWaits(context, () => context.setOffline(true));
  await pause(2_000);
  await context.setOffline(false);
  await player.until("the receipt", (state) => count(state, product, "Granted") === 1);
  player.assertIsWell();
  await context.close();
});

test("an order is sent as soon as the player looks at the page again", async () => {
  const context = await browser.newContext(SMALL);
  const store = `${world.server}/**`;
  const [player, product] = await withAnOrderThatWaits(context, () => context.route(store, (request) => request.abort()));
  await context.unroute(store);
  await pause(5_000);
  assert.equal(count(player.state, product, "Granted"), 0);
  await player.page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await player.until("the receipt", (state) => count(state, product, "Granted") === 1);
  player.assertIsWell();
  await context.close();
});
