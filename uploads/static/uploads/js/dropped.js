/** The files of a drop or of a chosen folder, each with the folders that it lay in. */

/**
 * @typedef {object} Chosen
 * @property {File} file
 * @property {string} path its folders, as in "photos/2026"; empty for none
 */

/** What could not be read of a drop is named, not left out in silence. */
export class Dropped {
  /** @type {Chosen[]} */
  files = [];
  /** @type {string[]} */
  unreadable = [];
}

/** @param {Iterable<File>} files as an `<input>` gives them @returns {Chosen[]} */
export const chosenFiles = (files) =>
  Array.from(files, (file) => ({ file, path: file.webkitRelativePath.split("/").slice(0, -1).join("/") }));

/**
 * Folders have no order of their own, so theirs are listed by name, as people count ("2" before "10"); files that
 * somebody chose one by one stay as they were chosen.
 * @param {Chosen[]} files
 */
export function inOrder(files) {
  if (!files.some(({ path }) => path)) return files;
  const { compare } = new Intl.Collator(undefined, { numeric: true });
  /** @type {Map<string, Chosen[]>} */
  const folders = new Map();
  for (const one of files) {
    if (!folders.has(one.path)) folders.set(one.path, []);
    folders.get(one.path)?.push(one);
  }
  const paths = [...folders.keys()].sort(compare);
  return paths.flatMap((path) => (folders.get(path) ?? []).sort((a, b) => compare(a.file.name, b.file.name)));
}

/**
 * @param {DataTransfer} transfer
 * @param {(count: number) => void} [found] told how many files were found so far
 */
export async function droppedFiles(transfer, found = () => {}) {
  const dropped = new Dropped();
  // Entries must be taken before the first await: the list is emptied when the event is over.
  const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry?.()).filter((entry) => entry != null);
  if (entries.length === 0) dropped.files = chosenFiles(transfer.files);
  else await collect(entries, "", dropped, found);
  return dropped;
}

/**
 * Takes files and folders in their order; the files of one folder are read side by side.
 * @param {FileSystemEntry[]} entries @param {string} path @param {Dropped} dropped
 * @param {(count: number) => void} found
 */
async function collect(entries, path, dropped, found) {
  const files = await Promise.all(entries.map((entry) => (entry.isFile ? read(entry) : null)));
  for (const [index, entry] of entries.entries()) {
    const name = path ? `${path}/${entry.name}` : entry.name;
    const file = files[index];
    if (file) dropped.files.push({ file, path });
    else if (entry.isFile) dropped.unreadable.push(name);
    else await collectFolder(entry, name, dropped, found);
  }
  found(dropped.files.length);
}

/**
 * @param {FileSystemEntry} entry @param {string} path @param {Dropped} dropped @param {(count: number) => void} found
 */
async function collectFolder(entry, path, dropped, found) {
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  for (;;) {
    // One call gives at most a hundred; an empty answer is the end.
    const children = await readSome(reader);
    if (children === null) dropped.unreadable.push(path);
    if (!children?.length) return;
    await collect(children, path, dropped, found);
  }
}

/** @param {FileSystemEntry} entry @returns {Promise<File | null>} null where it cannot be read */
const read = (entry) =>
  new Promise((resolve) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, () => resolve(null)));

/** @param {FileSystemDirectoryReader} reader @returns {Promise<FileSystemEntry[] | null>} null where it cannot be read */
const readSome = (reader) => new Promise((resolve) => reader.readEntries(resolve, () => resolve(null)));
