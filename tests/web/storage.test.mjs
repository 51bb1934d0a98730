// Storage that a browser denies, or that is full: the game says so in words, and loses nothing that it has acknowledged.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { SMALL, Installed, Player, browser, pause, shareWorld, world } from "./harness.mjs";

/** Words for a store that is not as it should be. */
const LIMITED = /kept in this browser|Free some room/;

shareWorld();

async function tellsOfIt(context, picture) {
  const player = await Player.join(context, world);
  const { availability } = await player.until("words", ({ availability }) => LIMITED.test(availability));
  await player.press("b");
  await player.until("the banner", ({ texts }) => texts.some((text) => LIMITED.test(text)));
  await player.picture(picture);
  player.assertIsWell();
  return availability;
}

test("a browser that denies storage is told of in words", async () => {
  // The setting of people who allow no site to keep anything.
  const profile = await mkdtemp(join(tmpdir(), "arcade-profile-"));
  await mkdir(join(profile, "Default"));
  const settings = { profile: { default_content_setting_values: { cookies: 2 } } };
  await writeFile(join(profile, "Default/Preferences"), JSON.stringify(settings));
  const installed = await Installed.start(profile);
  await tellsOfIt(installed.context, "11-denied");
  await installed.kill();
  await rm(profile, { recursive: true, force: true });
});

test("a storage that fails when it is opened is told of in words", async () => {
  const context = await browser.newContext(SMALL);
  await context.addInitScript(() => {
    IDBFactory.prototype.open = () => {
      throw new DOMException("the database is broken", "UnknownError");
    };
  });
  await tellsOfIt(context, "12-broken");
  await context.close();
});

test("when the storage is full nothing is acknowledged that is not kept, and it goes on when there is room", async () => {
  const context = await browser.newContext(SMALL);
  const player = await Player.join(context, world);
  await player.isOnline();
  await player.isKept();
  await player.buyFirst("Granted");

  const devtools = await context.newCDPSession(player.page);
  const origin = world.address;
  await devtools.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 1 });
  // For half a minute Chromium believes what it knew of the room.
  await pause(31_000);
  await player.openFirstProduct();
  await player.holdUntil("Enter", "words", ({ availability, texts }) => {
    return LIMITED.test(availability) || texts.some((text) => LIMITED.test(text));
  });
  await player.picture("13-full");
  // Whatever became of the order: what was told to be queued is there after a reload.
  const kept = ({ orders }) => orders.filter(([, state]) => !["Placed", "NotSaved"].includes(state)).length;
  const acknowledged = Math.max(...player.heard.map(kept));

  await devtools.send("Storage.overrideQuotaForOrigin", { origin });
  await player.reload();
  await player.isOnline();
  await player.until("what was acknowledged", (state) => kept(state) >= acknowledged);
  const { shield } = player.state;
  await player.buyFirst("Granted");
  await player.until("one more", (state) => state.shield === shield + 1);
  await world.audit();
  player.assertIsWell();
  await context.close();
});
