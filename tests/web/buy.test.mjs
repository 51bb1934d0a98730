// Purchases in a browser: by keyboard, mouse and touch, across a reload, and without a network.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Player, assertIsShop, browser, count, shareWorld, world } from "./harness.mjs";

const SCREEN = { viewport: { width: 960, height: 540 }, locale: "en-US" };
const RECEIPT = "It is yours. The receipt is verified.";

shareWorld();

test("what is bought by keyboard has a receipt, and is still owned after a reload", async () => {
  const context = await browser.newContext(SCREEN);
  const player = await Player.join(context, world);
  const { device, account } = await player.isOnline();

  await player.press("b");
  await player.shows("€0.005");
  assertIsShop(await player.picture("2-shelf"));
  await player.press("Enter");
  const { page } = await player.until("a product's page", ({ page }) => page.startsWith("Product"));
  const product = page.split('"')[1];
  assertIsShop(await player.picture("3-product"));
  await player.holdUntil("Enter", "the receipt", (state) => count(state, product, "Granted") === 1);
  await player.shows(RECEIPT);
  assertIsShop(await player.picture("4-receipt"));

  await player.reload();
  await player.until("the shield", ({ shield }) => shield === 1);
  assert.equal(player.state.device, device);
  assert.equal((await player.isOnline()).account, account);
  assert.equal(count(player.state, product, "Granted"), 1);
  await player.picture("4-owned-after-a-reload");
  player.assertIsWell();
  await context.close();
});

test("what is bought by mouse has a receipt", async () => {
  const context = await browser.newContext(SCREEN);
  const player = await Player.join(context, world);
  await player.isOnline();
  await player.click("Shop");
  await player.click("Magnet");
  await player.until("the magnet's page", ({ page }) => page.includes("magnet"));
  await player.click("Hold to buy", "the receipt", ({ owned }) => owned.includes("magnet"));
  await player.until("the receipt", (state) => count(state, "magnet", "Granted") === 1);
  player.assertIsWell();
  await context.close();
});

test("what is bought by touch has a receipt", async () => {
  const phone = { viewport: { width: 844, height: 390 }, hasTouch: true, isMobile: true };
  const context = await browser.newContext({ ...phone, locale: "en-US" });
  const player = await Player.join(context, world);
  await player.isOnline();
  await player.touch("Shop");
  await player.touch("Shield");
  await player.until("the shield's page", ({ page }) => page.includes("shield"));
  await player.touch("Hold to buy", "the receipt", (state) => count(state, "shield", "Granted") === 1);
  await player.shows(RECEIPT);
  await player.picture("5-touch");
  player.assertIsWell();
  await context.close();
});

test("what is bought offline is queued, survives a reload offline, and has its receipt when the network is back", async () => {
  const context = await browser.newContext(SCREEN);
  const player = await Player.join(context, world);
  await player.isOnline();
  await player.isKept();
  const before = await world.audit();

  // No network, and no page at the end of it either.
  await context.setOffline(true);
  await world.closePage();
  await player.until("it is offline", ({ connection }) => connection !== "Online");
  const product = await player.openFirstProduct();
  await player.holdUntil("Enter", "it is queued", (state) => count(state, product, "Queued") === 1);
  await player.shows("queued");
  await player.picture("6-offline");

  await player.reload();
  // It is queued, or was tried to be sent since.
  const waits = (state) => count(state, product, "Queued") + count(state, product, "Sent") === 1;
  await player.until("it still waits", waits);
  await player.shows("No connection. One order is queued");
  await player.picture("6-queued-after-a-reload");
  assert.equal((await world.audit()).orders, before.orders);

  await world.reopenPage();
  await context.setOffline(false);
  await player.until("the receipt", (state) => count(state, product, "Granted") === 1);
  await player.picture("7-back");
  assert.equal((await world.audit()).orders, before.orders + 1);
  player.assertIsWell();
  await context.close();
});
