// The browser is killed in the middle of purchases, again and again, and what it had acknowledged is compared with the books.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Installed, Player, World, pause } from "./harness.mjs";

const KILLS = 20;

let world, profile;

before(async () => {
  world = await World.start({ welcome: "10.00EUR" });
  profile = await mkdtemp(join(tmpdir(), "arcade-profile-"));
});

after(async () => {
  await world?.stop();
  if (profile) await rm(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
});

/** How many orders are acknowledged: safe on the disk, or further. */
const acknowledged = ({ orders }) => orders.filter(([, state]) => ["Queued", "Sent", "Granted"].includes(state)).length;

test(`${KILLS} kills in the middle of purchases lose nothing, and double nothing`, async (t) => {
  let promised = 0;
  let inTheMiddle = 0;
  for (let life = 0; life < KILLS; life += 1) {
    const installed = await Installed.start(profile);
    const player = await Player.join(installed.context, world);
    await player.until("what was acknowledged before", (state) => acknowledged(state) >= promised);
    await player.openFirstProduct();
    const before = player.state.orders.length;
    await player.page.keyboard.down("Enter");
    await player.until("an order", ({ orders }) => orders.length > before);
    // From the moment in which it is ordered to after its receipt.
    await pause((life * 400) / KILLS);
    await installed.kill();
    // What was on its way from the browser to here.
    await pause(200);
    promised = Math.max(promised, ...player.heard.map(acknowledged));
    const last = player.state.orders.at(-1)[1];
    inTheMiddle += last === "Granted" ? 0 : 1;
    t.diagnostic(`life ${life + 1}: ${player.state.orders.length} orders, the last one ${last}, ${promised} promised`);
  }

  const installed = await Installed.start(profile);
  const player = await Player.join(installed.context, world);
  const settled = ({ orders }) => orders.length >= promised && orders.every(([, state]) => state === "Granted");
  const { orders, shield } = await player.until("all receipts", settled);
  await player.picture("14-after-the-kills");
  const books = await world.audit();
  t.diagnostic(`${promised} acknowledged, ${orders.length} granted, ${books.orders} in the books, ${inTheMiddle} kills before the receipt`);
  assert.ok(promised > 0 && inTheMiddle > 0, "the kills hit purchases");
  assert.ok(orders.length >= promised, "nothing that was acknowledged is lost");
  assert.equal(books.orders, orders.length, "the books have each order once");
  assert.equal(books.receipts, orders.length, "each order has one receipt");
  assert.equal(shield, orders.length, "the player has what was bought");
  player.assertIsWell();
  await installed.kill();
});
