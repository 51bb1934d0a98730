// A browser that has forgotten everything joins its player's account again.

import assert from "node:assert/strict";
import { test } from "node:test";
import { SMALL, Player, browser, count, shareWorld, world } from "./harness.mjs";


shareWorld();

/** Shows a link code with one player, and joins with another one. */
async function link(from, to) {
  const { account } = await from.isOnline();
  const old = from.state.link_code;
  await from.openAccount();
  await from.page.getByRole("button", { name: "Show a link code" }).click();
  const { link_code: code } = await from.until("a link code", ({ link_code }) => link_code && link_code !== old);
  await from.page.locator("#answer", { hasText: code }).waitFor();
  await to.openAccount();
  // As people write it down.
  await to.page.getByLabel("Link code of another device").fill(` ${code.toLowerCase()} `);
  await to.page.getByRole("button", { name: "Join by a code" }).click();
  await to.until("the same account", (state) => state.account === account);
  await from.closeAccount();
  await to.closeAccount();
}

test("after its storage is cleared a browser is a new guest, and has everything again by a link code", async () => {
  const contexts = [await browser.newContext(SMALL), await browser.newContext(SMALL)];
  const [desk, sofa] = [await Player.join(contexts[0], world), await Player.join(contexts[1], world)];
  const { device, account } = await desk.isOnline();
  await link(desk, sofa);
  await desk.buyFirst("Granted");
  await desk.buyFirst("Granted");
  await desk.click("Shop");
  await desk.click("Magnet");
  await desk.until("the magnet's page", ({ page }) => page.includes("magnet"));
  await desk.click("Hold to buy", "the magnet", (state) => count(state, "magnet", "Granted") === 1);

  // As when a player clears what this site has kept, or the browser does.
  const devtools = await contexts[0].newCDPSession(desk.page);
  await desk.page.goto("about:blank");
  await devtools.send("Storage.clearDataForOrigin", { origin: world.address, storageTypes: "all" });
  await desk.load(() => desk.page.goto(`${world.address}/?tell`, { waitUntil: "commit" }));
  await desk.isOnline();
  assert.notEqual(desk.state.device, device);
  assert.notEqual(desk.state.account, account);
  assert.deepEqual([desk.state.owned, desk.state.shield, desk.state.orders.length], [[], 0, 0]);
  await desk.picture("9-cleared");

  await link(sofa, desk);
  await desk.until("everything", ({ owned, shield }) => owned.includes("magnet") && shield === 2);
  await desk.openAccount();
  await desk.picture("10-restored");
  assert.equal((await world.audit()).orders, 3);
  desk.assertIsWell();
  sofa.assertIsWell();
  await Promise.all(contexts.map((context) => context.close()));
});

test("a wrong link code is said to be wrong", async () => {
  const context = await browser.newContext(SMALL);
  const player = await Player.join(context, world);
  await player.isOnline();
  await player.openAccount();
  await player.page.getByLabel("Link code of another device").fill("0000-0000");
  await player.page.getByRole("button", { name: "Join by a code" }).click();
  const { asked } = await player.until("an answer", ({ asked }) => asked);
  await player.page.locator("#answer", { hasText: asked }).waitFor();
  await context.close();
});
