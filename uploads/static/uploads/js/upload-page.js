/** The upload page: joins the tray, the queue and the lists. */

import { find } from "./dom.js";
import { Dropzone } from "./dropzone.js";
import { HoldNotice } from "./hold-notice.js";
import { MyFiles } from "./my-files.js";
import { UploadQueue } from "./queue.js";
import { ProtectForm } from "./protect-form.js";
import { QuotaMeter } from "./quota-meter.js";
import { watchForReopening } from "./reopening.js";
import { answerOtherTabs } from "./unfinished.js";
import { UnfinishedList } from "./unfinished-list.js";
import { UploadList } from "./upload-list.js";

const queue = new UploadQueue();
const dropzone = find("ddx-dropzone", Dropzone);
const protect = find("ddx-protect", ProtectForm);
const unfinished = find("ddx-unfinished", UnfinishedList);
const mine = find("ddx-my-files", MyFiles);
const quota = find("ddx-quota", QuotaMeter);
/** The upload whose file is being chosen again. @type {import("./upload.js").Upload | null} */
let wanting = null;

const uploads = () => queue.groups.flatMap((group) => [...group.uploads]);
const openIds = () => uploads().flatMap(({ fileId, isOver }) => (fileId && !isOver ? [fileId] : []));

find("ddx-upload-list", UploadList).show(queue);
find("ddx-hold", HoldNotice).show(queue.hold, () => queue.tryNow());
watchForReopening(queue.hold);
answerOtherTabs(openIds);

dropzone.addEventListener("files", async (event) => {
  /** @type {import("./dropped.js").Chosen[]} */
  const files = (/** @type {CustomEvent} */ (event).detail);
  const wanted = wanting;
  wanting = null;
  if (wanted && files.length === 1) {
    wanted.useFile(files[0].file);
  } else {
    const protection = protect.read();
    if (!protection) return;
    await unfinished.ready;
    queue.add(files, unfinished.entries, protection);
    unfinished.drop(new Set(uploads().map(({ fileId }) => fileId)));
  }
  quota.refresh();
});

addEventListener("choosefile", (event) => {
  wanting = (/** @type {CustomEvent} */ (event).detail);
  dropzone.choose();
});
unfinished.querySelector("button")?.addEventListener("click", () => dropzone.choose());

addEventListener("cancelledgroup", (event) => {
  const { batch } = (/** @type {CustomEvent} */ (event).detail);
  if (batch) unfinished.dropBatch(batch.id);
});

queue.addEventListener("change", (event) => {
  /** @type {import("./upload.js").Upload | null} */
  const upload = (/** @type {CustomEvent} */ (event).detail.upload);
  // Announced, or over: the day's figures changed.
  if (!upload || upload.isOver || upload.state === "connecting") quota.refresh();
  if (upload && ["done", "cancelled"].includes(upload.state)) refreshMineSoon();
});

mine.addEventListener("filegone", (event) => {
  const { fileId, how } = (/** @type {CustomEvent} */ (event).detail);
  const upload = queue.find(fileId);
  if (how === "deleted") upload?.deletedElsewhere();
  else if (!upload?.isOver) upload?.cancelledElsewhere();
});

quota.addEventListener("quota", (event) => {
  queue.concurrent = (/** @type {CustomEvent} */ (event).detail).limits.concurrent;
});

addEventListener("online", () => queue.tryNow());
addEventListener("offline", () => queue.doubt());
addEventListener("beforeunload", (event) => {
  if (queue.isUnderWay) event.preventDefault();
});

/** @type {ReturnType<typeof setTimeout> | undefined} */
let mineTimer;

/** Not once a file: hundreds may finish within a second. */
function refreshMineSoon() {
  clearTimeout(mineTimer);
  mineTimer = setTimeout(() => mine.refresh(), 1000);
}
