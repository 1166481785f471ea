from typing import Any

from asgiref.sync import async_to_sync
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from quotas.sizes import exact_size, short_size
from uploads import drive_accounts
from uploads.drive_accounts import AsAWhole, Shown
from uploads.drive_models import DriveAccount
from uploads.storage.gdrive.conditions import Condition


class Command(BaseCommand):
    help = "Shows the Google Drive accounts, asks Drive how they fare, or seals their secrets with a new key."

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "--check",
            action="store_true",
            help="Ask Drive for the health and the room of each; exit code 1 if one that is on has a trouble.",
        )
        what.add_argument(
            "--reseal", action="store_true", help="Seal every stored secret with the first key of SECRETS_KEY."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["reseal"]:
            self._reseal()
            return
        rows = list(DriveAccount.objects.order_by("priority", "name"))
        if not rows:
            self.stdout.write("There is no Drive account. Make one in the admin: docs/google-drive.md says how.")
        if options["check"]:
            async_to_sync(self._ask)(rows)
            rows = list(DriveAccount.objects.order_by("priority", "name"))
        now = timezone.now()
        shown = drive_accounts.shown(rows, now)
        for row in rows:
            self._show(row, shown[row.pk])
        if rows:
            self._show_all_of_it(drive_accounts.as_a_whole(now))
        broken = [row.name for row in rows if row.enabled and row.error_code]
        if options["check"] and (broken or not any(row.enabled for row in rows)):
            raise CommandError(f"In trouble: {', '.join(broken)}." if broken else "No Drive account is switched on.")

    async def _ask(self, rows: list[DriveAccount]) -> None:
        for row in rows:
            await drive_accounts.check(row.pk)

    def _show(self, row: DriveAccount, shown: Shown) -> None:
        room = "room unknown" if shown.room is None else f"{short_size(shown.room)} free"
        until = f" until {shown.until:%Y-%m-%d %H:%M} UTC" if shown.until else ""
        self.stdout.write(
            f"{row.name} ({row.identity or row.kind}): {shown.condition.value}{until}, {room}, "
            f"{short_size(shown.used)} of {exact_size(row.daily_bytes)} used in 24 h"
        )
        if shown.trouble and shown.condition is not Condition.OFF:
            self.stdout.write(f"  {shown.sentence} ({row.last_error})")

    def _show_all_of_it(self, drive: AsAWhole) -> None:
        until = f" until {drive.until:%Y-%m-%d %H:%M} UTC" if drive.until else ""
        cause = f" ({drive.cause})" if drive.cause else ""
        self.stdout.write(f"Drive as a whole: circuit {drive.circuit.value}{until}{cause}")

    def _reseal(self) -> None:
        done, unread = drive_accounts.reseal_all()
        self.stdout.write(f"Sealed with the newest key: {done}.")
        if unread:
            raise CommandError(f"SECRETS_KEY lacks the key of: {', '.join(unread[:20])}.")
