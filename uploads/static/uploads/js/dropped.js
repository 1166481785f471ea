/** The files of a drop, those in folders too. */

/** @param {DataTransfer} transfer @returns {Promise<File[]>} */
export async function droppedFiles(transfer) {
  // Entries must be taken before the first await: the list is emptied when the event is over.
  const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry?.()).filter((entry) => entry != null);
  if (entries.length === 0) return Array.from(transfer.files);
  /** @type {File[]} */
  const files = [];
  for (const entry of entries) await collect(entry, files);
  return files;
}

/** @param {FileSystemEntry} entry @param {File[]} files */
async function collect(entry, files) {
  if (entry.isFile) {
    const file = await read(/** @type {FileSystemFileEntry} */ (entry));
    if (file) files.push(file);
    return;
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  for (;;) {
    // One call gives at most a hundred; an empty answer is the end.
    const children = await readSome(reader);
    if (children.length === 0) return;
    for (const child of children) await collect(child, files);
  }
}

/** @param {FileSystemFileEntry} entry @returns {Promise<File | null>} null where it cannot be read */
const read = (entry) => new Promise((resolve) => entry.file(resolve, () => resolve(null)));

/** @param {FileSystemDirectoryReader} reader @returns {Promise<FileSystemEntry[]>} */
const readSome = (reader) => new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
