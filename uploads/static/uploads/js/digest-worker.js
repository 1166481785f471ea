/**
 * SHA-256 of one file after another, each from its own stream. Reads no further than the page allows: then the bytes
 * that the sending reads are still in the system's cache, and a paused upload does not keep the disk busy.
 */

import "../vendor/hash-wasm/sha256.umd.min.js";

/** @type {any} A worker's scope, which the page's types do not know. */
const scope = globalThis;

/** @type {Promise<any> | null} made once, used again */
let made = null;
let allowed = 0;
/** @type {() => void} */
let wake = () => {};

/** @param {File} file */
async function digest(file) {
  allowed = 0;
  let hasher;
  try {
    hasher = await (made ??= globalThis.hashwasm.createSHA256());
  } catch {
    return scope.postMessage({ unavailable: true }); // no WebAssembly here
  }
  hasher.init();
  let offset = 0;
  const reader = file.stream().getReader();
  for (;;) {
    while (offset >= allowed && offset < file.size) await new Promise((resolve) => (wake = () => resolve(null)));
    let part;
    try {
      part = await reader.read();
    } catch {
      return scope.postMessage({ unreadable: true });
    }
    if (part.done) break;
    hasher.update(part.value);
    offset += part.value.length;
  }
  scope.postMessage(offset === file.size ? { sha256: hasher.digest("hex") } : { unreadable: true });
}

scope.onmessage = (/** @type {MessageEvent} */ event) => {
  if (event.data.allowed !== undefined) {
    allowed = event.data.allowed;
    wake();
  } else {
    digest(event.data.file);
  }
};
