"""Downloads are counted here: one UPDATE with its condition each, so that no race gives more than was allowed.

Synchronous; `access` wraps it. A whole download always counts; one of a range belongs to a download of the same
recipient that was counted before, while that was not given too often.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import models, transaction
from django.db.models import Case, F, Q, Value, When
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from uploads.errors import Gone
from uploads.models import Batch, CountedDownload, StoredFile
from uploads.sharing import rules

REVOKED = _("The sender has withdrawn this link.")
USED_UP = _("This was downloaded as often as its sender allowed.")

Shares = Callable[[int, int], Mapping[str, int]]


@dataclass(frozen=True)
class Wanted:
    """What somebody wants to download: a file, or the ZIP of a batch with these `files`; `size` is all of it.

    `recipients` all stand for them; a download is noted under the first, and looked for under each in turn. `shares`
    tells how many bytes of each file, by its id, the part of the ZIP has that begins at a byte and is so long.
    """

    subject: StoredFile | Batch
    size: int
    recipients: tuple[str, ...]
    files: tuple[UUID, ...] = ()
    shares: Shares | None = None

    def share(self, inside: Collection[str], start: int, length: int) -> dict[str, int]:
        """How much of each of these files is in that part; none where it has nothing of them."""
        if not inside or self.shares is None:
            return {}
        return {pk: part for pk, part in self.shares(start, length).items() if pk in inside}


@dataclass
class Counted:
    """A download under way: the row that it belongs to, the bytes noted there beforehand, and those given of them.

    Both count from the byte `start` on. `inside` are the sizes of those files of a ZIP that have a limit, by their ids.
    """

    wanted: Wanted
    row: int
    begun_at: datetime  # of the row: another one has taken it over where it has another
    made: bool  # it was counted for this request, not for one before
    noted: int
    limited: bool  # whether it matters how much is given
    start: int
    inside: Mapping[str, int]
    given: int = 0


def begin(wanted: Wanted, length: int, *, is_range: bool, start: int = 0) -> Counted:
    """Count a download, or find the one that this is a further part of; `length` bytes are about to be given.

    Where nothing is limited they are noted at once, and nobody needs to write again before the end. Raises `Gone` where
    no more are allowed.
    """
    inside = _limited(wanted)
    limited = wanted.subject.max_downloads is not None or bool(inside)
    noted = min(length, rules.step(wanted.size)) if limited else length
    share = wanted.share(inside, start, noted)
    with transaction.atomic():
        row = _running(wanted) if is_range else None
        made = row is None or not _note(wanted, row[0], noted, inside, share)
        if row is None or made:
            row = _count(wanted, noted, inside, share, limited=limited)
    return Counted(wanted, *row, made=made, noted=noted, limited=limited, start=start, inside=inside)


def _limited(wanted: Wanted) -> dict[str, int]:
    """The sizes of those files in a ZIP that have a limit of their own, by their id."""
    if not wanted.files:
        return {}
    # Those of the whole batch are few, where those of the ZIP may be a thousand.
    limited = StoredFile.objects.filter(batch=wanted.subject.pk, max_downloads__isnull=False)
    inside = set(wanted.files)
    return {str(pk): size for pk, size in limited.values_list("pk", "size") if pk in inside}


def _note(wanted: Wanted, row: int, more: int, inside: Mapping[str, int], share: Mapping[str, int]) -> bool:
    """Note so many bytes more, and of the limited files their `share`; False where either was given too often already.

    A ZIP is large, and a limited file in it may be small: it is given no more often than it would be by itself.
    """
    rows = CountedDownload.objects.filter(pk=row, given__lt=rules.GIVEN_UP_TO * wanted.size)
    if not share:
        return bool(rows.update(given=F("given") + more))
    files = _given_of(row)
    if any(files.get(pk, 0) >= rules.GIVEN_UP_TO * inside[pk] for pk in share):
        return False
    files |= {pk: files.get(pk, 0) + part for pk, part in share.items()}
    return bool(rows.update(given=F("given") + more, files=files))


def _given_of(row: int) -> dict[str, int]:
    """How much of each limited file was given with this row's ZIP; whoever changes it holds the batch."""
    files = CountedDownload.objects.values_list("files", flat=True).filter(pk=row).first() or {}
    return dict(files) if isinstance(files, dict) else dict.fromkeys(files, 0)  # as older versions noted it


def is_running(subject: UUID, recipients: Sequence[str]) -> bool:
    """Whether this recipient has a download of the file or batch that was counted, and can be resumed."""
    return _resumable(subject, recipients).exists()


def begun_with(batch: UUID, recipients: Sequence[str]) -> frozenset[UUID]:
    """The files with a limit of their own in the ZIP that this recipient began last, and can resume."""
    rows = _resumable(batch, recipients).values_list("files", flat=True)
    return frozenset(map(UUID, rows.first() or ()))


def _running(wanted: Wanted) -> tuple[int, datetime] | None:
    subject = wanted.subject
    _hold(subject)  # ranges that come at once wait for the first of them to be counted
    rows = _resumable(subject.pk, wanted.recipients).filter(given__lt=rules.GIVEN_UP_TO * wanted.size)
    return rows.values_list("pk", "begun_at").first()


def _hold(subject: StoredFile | Batch) -> None:
    """Whoever counts it waits for this transaction: always before the rows of its downloads, or two wait for ever."""
    type(subject)._default_manager.select_for_update(no_key=True).filter(pk=subject.pk).values_list("pk").first()


def _resumable(subject: UUID, recipients: Sequence[str]) -> models.QuerySet[CountedDownload]:
    """The one to go on with is the first: of the first of these recipients who have any, the one begun last."""
    since = timezone.now() - rules.RESUMABLE
    rows = CountedDownload.objects.filter(subject=subject, recipient__in=recipients, begun_at__gt=since)
    turns = [When(recipient=recipient, then=Value(turn)) for turn, recipient in enumerate(recipients)]
    return rows.order_by(Case(*turns, default=len(turns)), "-begun_at")


def _count(
    wanted: Wanted, noted: int, inside: Mapping[str, int], share: Mapping[str, int], *, limited: bool
) -> tuple[int, datetime]:
    """One more for the subject, and for each of the ZIP's files; none of them where one of them allows no more.

    Returns its row and when that began. Where nothing is limited a recipient has one row, which the next download takes
    over: so a flood of them leaves no more behind than one does.
    """
    subject = wanted.subject
    if not _one_more(type(subject)._default_manager.filter(pk=subject.pk)):
        revoked = type(subject)._default_manager.filter(pk=subject.pk, revoked_at__isnull=False).exists()
        raise Gone(REVOKED if revoked else USED_UP)
    if wanted.files and _one_more(StoredFile.objects.filter(pk__in=wanted.files)) != len(wanted.files):
        raise Gone(USED_UP)  # the caller's transaction takes back what was counted
    files = {pk: share.get(pk, 0) for pk in inside}
    now, whose = timezone.now(), {"subject": subject.pk, "recipient": wanted.recipients[0]}
    if not limited and (known := CountedDownload.objects.filter(**whose).order_by("pk").first()):
        CountedDownload.objects.filter(pk=known.pk).update(begun_at=now, given=noted, files=files)
        return int(known.pk), now
    return int(CountedDownload.objects.create(**whose, begun_at=now, given=noted, files=files).pk), now


def _one_more(rows: models.QuerySet) -> int:
    left = Q(max_downloads=None) | Q(downloads__lt=F("max_downloads"))
    return rows.filter(left, revoked_at=None).update(downloads=F("downloads") + 1)


def note_more(counted: Counted, more: int) -> None:
    """So many further bytes are about to be given. What was given too often already counts once more, or is `Gone`."""
    wanted, inside = counted.wanted, counted.inside
    share = wanted.share(inside, counted.start + counted.noted, more)
    with transaction.atomic():
        if share:
            _hold(wanted.subject)
        if _note(wanted, counted.row, more, inside, share):
            counted.noted += more
            return
        start, inside = counted.start + counted.given, _limited(wanted)
        again = _count(wanted, more, inside, wanted.share(inside, start, more), limited=True)
    counted.row, counted.begun_at = again
    counted.start, counted.inside = start, inside
    counted.made, counted.noted, counted.given = True, more, 0


def end(counted: Counted, *, began: bool) -> None:
    """The download ended: what was noted and not given is taken back, and the count with it where no byte began."""
    with transaction.atomic():
        _hold(counted.wanted.subject)
        rows = CountedDownload.objects.filter(pk=counted.row, begun_at=counted.begun_at)
        is_taken_over = not rows.exists()
        # Where another connection has joined it, it goes on.
        if not began and counted.made and (is_taken_over or rows.filter(given=counted.noted).delete()[0]):
            _one_less(type(counted.wanted.subject)._default_manager.filter(pk=counted.wanted.subject.pk))
            if counted.wanted.files:
                _one_less(StoredFile.objects.filter(pk__in=counted.wanted.files))
        elif counted.given < counted.noted and not is_taken_over:
            left = counted.noted - counted.given
            rows.update(given=F("given") - left)
            if share := counted.wanted.share(counted.inside, counted.start + counted.given, left):
                files = _given_of(counted.row)
                rows.update(files=files | {pk: files.get(pk, 0) - part for pk, part in share.items()})


def _one_less(rows: models.QuerySet) -> None:
    rows.filter(downloads__gt=0).update(downloads=F("downloads") - 1)


def forget(*, dry_run: bool = False) -> int:
    """Remove what nobody can resume any more; returns how many."""
    rows = CountedDownload.objects.filter(begun_at__lte=timezone.now() - 2 * rules.RESUMABLE)
    return rows.count() if dry_run else rows.delete()[0]
