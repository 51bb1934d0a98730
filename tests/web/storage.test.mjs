// Storage that a browser denies, or that is full: the game says so in words, and loses nothing that it has acknowledged.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { SMALL, Installed, Player, browser, count, pause, shareWorld, world } from "./harness.mjs";

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

test("the game is told how long a browser keeps what is kept, and tells the player where that is not for ever", async () => {
  const context = await browser.newContext(SMALL);
  const player = await Player.join(context, world);
  await player.until("what a private window is", ({ persistence }) => persistence === "BestEffort");
  const hint = player.page.locator("#keeping");
  await player.openAccount();
  assert.ok(await hint.isVisible());
  await player.closeAccount();
  await player.isOnline();

  // As a browser answers in which the player has the game installed, or uses it often.
  const devtools = await context.newCDPSession(player.page);
  await devtools.send("Browser.setPermission", {
    permission: { name: "persistent-storage" },
    setting: "granted",
    origin: world.address,
    browserContextId: (await devtools.send("Target.getTargetInfo")).targetInfo.browserContextId,
  });
  await player.buyFirst("Granted");
  await player.until("the promise", ({ persistence }) => persistence === "Persistent");
  await player.openAccount();
  assert.ok(await hint.isHidden());
  await player.closeAccount();
  await player.reload();
  await player.until("the promise", ({ persistence }) => persistence === "Persistent");
  player.assertIsWell();
  await context.close();
});

test("an order is queued when the browser has written it to the disk, and no sooner", async () => {
  const context = await browser.newContext(SMALL);
  await context.addInitScript(() => {
    Object.assign(globalThis, { durabilities: [], isHeld: false });
    const { transaction } = IDBDatabase.prototype;
    IDBDatabase.prototype.transaction = function (...words) {
      const begun = transaction.apply(this, words);
      if (begun.mode === "readwrite") durabilities.push(begun.durability);
      return begun;
    };
    const { commit } = IDBTransaction.prototype;
    IDBTransaction.prototype.commit = function () {
      // A transaction goes on for as long as something is asked of it.
      const again = () => {
        if (isHeld) this.objectStore("journal").count().onsuccess = again;
        else commit.call(this);
      };
      again();
    };
  });
  const player = await Player.join(context, world);
  await player.isOnline();
  await player.page.evaluate(() => (globalThis.isHeld = true));
  await player.openFirstProduct();
  await player.holdUntil("Enter", "it is placed", ({ orders }) => orders.length === 1);
  await pause(3_000);
  assert.deepEqual(player.state.orders.map(([, state]) => state), ["Placed"]);
  await player.page.evaluate(() => (globalThis.isHeld = false));
  await player.until("its receipt", ({ orders }) => orders[0][1] === "Granted");

  const durabilities = await player.page.evaluate(() => globalThis.durabilities);
  assert.ok(durabilities.length >= 4, `${durabilities.length} transactions`);
  assert.deepEqual([...new Set(durabilities)], ["strict"]);
  player.assertIsWell();
  await context.close();
});

test("when the storage is full nothing is acknowledged that is not kept, what is queued stays, and it goes on when there is room", async () => {
  const context = await browser.newContext(SMALL);
  const player = await Player.join(context, world);
  await player.isOnline();
  await player.isKept();
  await player.buyFirst("Granted");
  await context.setOffline(true);
  await player.page.evaluate(() => arcade.commands.push("offline"));
  await player.until("it is offline", ({ connection }) => connection === "Offline");
  await player.openFirstProduct();
  await player.holdUntil("Enter", "it is queued", (state) => count(state, "shield", "Queued") === 1);
  await player.shows("do not clear the browser's data");
  await player.picture("13-queued-in-private");
  await player.leaveShop();

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
  assert.ok(acknowledged >= 2);

  await devtools.send("Storage.overrideQuotaForOrigin", { origin });
  await player.reload();
  await player.until("what was acknowledged", (state) => kept(state) >= acknowledged);
  await context.setOffline(false);
  await player.isOnline();
  await player.until("all receipts", (state) => count(state, "shield", "Granted") >= acknowledged);
  const { shield } = player.state;
  await player.buyFirst("Granted");
  await player.until("one more", (state) => state.shield === shield + 1);
  await world.audit();
  player.assertIsWell();
  await context.close();
});
