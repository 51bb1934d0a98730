// Keeps the page and the game in the browser, so that they start without a network too.
//
// `tools/web` writes two constants above this text: `FILES`, each file of the page with the digest of its bytes, and
// `VERSION`, a digest of them all. A version is kept whole or not at all, whatever is uploaded meanwhile: a file with
// other bytes is refused. Nothing else passes through here, and the store's answers never do.

const HOME = "./";
const OURS = `${registration.scope} `;
const CACHE = OURS + VERSION;

async function keep() {
  const cache = await caches.open(CACHE);
  const wanted = ([file, integrity]) => new Request(file, { cache: "no-cache", integrity });
  await cache.addAll(Object.entries(FILES).map(wanted));
}

async function forgetOthers() {
  const names = await caches.keys();
  const old = names.filter((name) => name.startsWith(OURS) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
}

/** The name of a file of the page, or nothing for what is none of ours. */
function ours(address) {
  const { origin, pathname } = new URL(address);
  if (!(origin + pathname).startsWith(registration.scope)) return undefined;
  const file = (origin + pathname).slice(registration.scope.length);
  const name = file === "" || file === "index.html" ? HOME : decodeURI(file);
  return Object.hasOwn(FILES, name) ? name : undefined;
}

/** A page that runs keeps the version that it began with; so this one waits until only one is left, which reloads. */
async function takeOver() {
  const pages = await clients.matchAll({ type: "window", includeUncontrolled: true });
  const isAlone = pages.filter((page) => page.url.startsWith(registration.scope)).length === 1;
  if (isAlone) await skipWaiting();
  return isAlone;
}

addEventListener("install", (event) => event.waitUntil(keep()));

addEventListener("activate", (event) => event.waitUntil(forgetOthers()));

addEventListener("message", (event) => {
  event.waitUntil(takeOver().then((isAlone) => event.ports[0].postMessage(isAlone)));
});

addEventListener("fetch", (event) => {
  const file = event.request.method === "GET" ? ours(event.request.url) : undefined;
  if (file === undefined) return;
  event.respondWith(caches.match(file, { cacheName: CACHE }).then((kept) => kept ?? fetch(event.request)));
});
