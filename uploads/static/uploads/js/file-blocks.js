/**
 * A file's bytes in order, in blocks whose memory is used again. Reading is the dear part of an upload in a browser:
 * fresh memory for every block doubles what it costs, and so does a second reader of the same file.
 */

const BLOCK_BYTES = 1024 * 1024;
/** A browser without readers of one's own memory reads slices, each at a high price whatever its size. */
const SLICE_BYTES = 4 * 1024 * 1024;
const MOST_SPARE = 16;

/** The file on disk was changed, moved or removed since it was chosen. */
export class Unreadable extends Error {}

/** @type {ArrayBuffer[]} Blocks that nobody uses, for all files. */
const spare = [];

/** Gives a block back to be filled again. @param {ArrayBufferLike} buffer */
export function recycle(buffer) {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === BLOCK_BYTES && spare.length < MOST_SPARE) {
    spare.push(buffer);
  }
}

/** Reads on while the block before is used, and no further than that. */
export class FileBlocks {
  #file;
  #offset;
  #end;
  /** @type {ReadableStreamBYOBReader | null} */
  #reader = null;
  /** @type {Promise<Uint8Array<ArrayBuffer>>} */
  #coming;

  /** @param {Blob} file @param {number} start @param {number} [end] both in bytes */
  constructor(file, start, end = file.size) {
    this.#file = file;
    this.#offset = start;
    this.#end = end;
    try {
      this.#reader = file.slice(start, end).stream().getReader({ mode: "byob" });
    } catch {
      // A browser without them: `#read` takes slices.
    }
    this.#coming = this.#readOn();
  }

  /** The next block, never empty; null at the end. Rejects with `Unreadable`. */
  async next() {
    const block = await this.#coming;
    if (block.length === 0) return null;
    this.#coming = this.#readOn();
    return block;
  }

  /** Lets go of the file. */
  stop() {
    this.#end = this.#offset;
    this.#reader?.cancel().catch(() => {});
  }

  #readOn() {
    const length = Math.min(this.#reader ? BLOCK_BYTES : SLICE_BYTES, this.#end - this.#offset);
    const coming = this.#read(length);
    this.#offset += length;
    coming.catch(() => {}); // `next` tells of it, if anybody still asks
    return coming;
  }

  /** @param {number} length @returns {Promise<Uint8Array<ArrayBuffer>>} */
  async #read(length) {
    if (length === 0) return new Uint8Array();
    try {
      if (this.#reader) return await this.#fill(this.#reader, length);
      const start = this.#offset;
      return new Uint8Array(await this.#file.slice(start, start + length).arrayBuffer());
    } catch {
      throw new Unreadable();
    }
  }

  /** @param {ReadableStreamBYOBReader} reader @param {number} length */
  async #fill(reader, length) {
    let buffer = spare.pop() ?? new ArrayBuffer(BLOCK_BYTES);
    let filled = 0;
    while (filled < length) {
      const rest = new Uint8Array(buffer, filled, length - filled);
      // With `min` one read fills the block; a browser that does not know it gives what it has.
      // @ts-expect-error nor do the types know it
      const { value, done } = await reader.read(rest, { min: rest.length });
      if (done || !value) throw new Unreadable();
      buffer = value.buffer;
      filled += value.length;
    }
    return new Uint8Array(buffer, 0, length);
  }
}
