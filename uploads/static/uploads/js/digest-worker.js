/**
 * SHA-256 of one file after another. Of each it is told the `file`, then gets its blocks in order, and is told where
 * to read by itself because the page has no blocks to give (`readTo`). It gives each block's memory back (`spare`),
 * and says when it has come to the last `readTo` (`level`). At the end of the file it says the `sha256`.
 */

import "../vendor/hash-wasm/sha256.umd.min.js";
import { FileBlocks, recycle, Unreadable } from "./file-blocks.js";

/** @type {any} A worker's scope, which the page's types do not know. */
const scope = globalThis;

/** @type {any} */
let hasher;
/** @type {File | null} null between files */
let file = null;
let offset = 0;
let target = 0;
/** One thing after another, in the order of the messages. */
let work = Promise.resolve();

/** @param {File} next */
async function begin(next) {
  try {
    hasher ??= await globalThis.hashwasm.createSHA256();
  } catch {
    scope.postMessage({ unavailable: true }); // no WebAssembly here
    scope.close();
  }
  hasher.init();
  file = next;
  offset = 0;
}

/** @param {Uint8Array} block */
function add(block) {
  hasher.update(block);
  offset += block.length;
}

/** The target may move on while it is read. @param {File} file */
async function readOn(file) {
  while (offset < target) {
    const blocks = new FileBlocks(file, offset, target);
    for (let block; (block = await blocks.next()); recycle(block.buffer)) add(block);
  }
  scope.postMessage({ level: offset });
}

/** @param {{file?: File, block?: Uint8Array, readTo?: number}} message */
async function handle(message) {
  if (message.file) await begin(message.file);
  if (!file) return; // a `readTo` that an earlier one went beyond
  if (message.block) {
    add(message.block);
    scope.postMessage({ spare: message.block.buffer }, [message.block.buffer]);
  } else if (message.readTo) await readOn(file);
  if (offset < file.size) return;
  file = null;
  scope.postMessage({ sha256: hasher.digest("hex") });
}

scope.onmessage = (/** @type {MessageEvent} */ { data }) => {
  target = data.file ? 0 : Math.max(target, data.readTo ?? 0);
  work = work
    .then(() => handle(data))
    .catch((error) => {
      if (error instanceof Unreadable) scope.postMessage({ unreadable: true });
      else reportError(error);
    });
};
