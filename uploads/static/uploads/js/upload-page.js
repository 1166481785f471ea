/** The upload page: joins the tray, the queue and the lists. */

import { quotaInfo, Problem } from "./api.js";
import { find } from "./dom.js";
import { Dropzone } from "./dropzone.js";
import { formatSize } from "./format.js";
import { fill, gettext } from "./i18n.js";
import { MyFiles } from "./my-files.js";
import { UploadQueue } from "./queue.js";
import { answerOtherTabs } from "./unfinished.js";
import { UnfinishedList } from "./unfinished-list.js";
import { UploadList } from "./upload-list.js";

const queue = new UploadQueue();
const dropzone = find("ddx-dropzone", Dropzone);
const unfinished = find("ddx-unfinished", UnfinishedList);
const mine = find("ddx-my-files", MyFiles);
/** The upload whose file is being chosen again. @type {import("./upload.js").Upload | null} */
let wanting = null;

const uploadIds = () => queue.uploads.flatMap((upload) => (upload.fileId && !upload.isOver ? [upload.fileId] : []));

find("ddx-upload-list", UploadList).show(queue);
answerOtherTabs(uploadIds);

dropzone.addEventListener("files", async (event) => {
  /** @type {File[]} */
  const files = (/** @type {CustomEvent} */ (event).detail);
  const wanted = wanting;
  wanting = null;
  if (wanted && files.length === 1) {
    wanted.useFile(files[0]);
  } else {
    await unfinished.ready;
    queue.add(files, unfinished.entries);
    unfinished.drop(new Set(uploadIds()));
  }
  readLimits();
});

addEventListener("choosefile", (event) => {
  wanting = (/** @type {CustomEvent} */ (event).detail);
  dropzone.choose();
});
unfinished.querySelector("button")?.addEventListener("click", () => dropzone.choose());

queue.addEventListener("change", (event) => {
  /** @type {import("./upload.js").Upload} */
  const upload = (/** @type {CustomEvent} */ (event).detail);
  if (["done", "cancelled"].includes(upload.state)) refreshMineSoon();
});

addEventListener("online", () => queue.tryNow());
addEventListener("offline", () => queue.doubt());
addEventListener("beforeunload", (event) => {
  if (queue.uploads.some((upload) => upload.isUnderWay)) event.preventDefault();
});

/** @type {ReturnType<typeof setTimeout> | undefined} */
let mineTimer;

/** Not once a file: hundreds may finish within a second. */
function refreshMineSoon() {
  clearTimeout(mineTimer);
  mineTimer = setTimeout(() => mine.refresh(), 1000);
}

async function readLimits() {
  let info;
  try {
    info = await quotaInfo();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return; // the limits are told again by whatever is refused
  }
  if (info.limits.concurrent) queue.concurrent = info.limits.concurrent;
  const { file_bytes: fileBytes, daily_bytes: dailyBytes } = info.limits;
  const sentences = [];
  if (fileBytes != null) sentences.push(fill(gettext("Up to %(size)s a file."), { size: formatSize(fileBytes) }));
  if (dailyBytes != null && info.remaining_bytes != null) {
    const values = { left: formatSize(info.remaining_bytes), limit: formatSize(dailyBytes) };
    sentences.push(fill(gettext("%(left)s of %(limit)s left for today."), values));
  }
  find("#limits", HTMLElement).textContent = sentences.join(" ");
}

readLimits();
