from typing import Any

from asgiref.sync import async_to_sync
from django.core.management.base import BaseCommand, CommandError, CommandParser

from uploads import cleanup
from uploads.slots.asking import alive_uploads
from uploads.slots.control import NoAnswerError
from uploads.storage import close_stores


class Command(BaseCommand):
    help = (
        "Ends what time has ended: expires overdue uploads and files, completes uploads that only lacked `finish`, "
        "returns idle reservations, removes orphaned bytes, forgets daily use after 400 days, what was counted of "
        "downloads after two, and files that came to nothing after 30. "
        "Safe at any time and as often as you like."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Say what would be done, and change nothing.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            report = async_to_sync(self._clean)(options["dry_run"])
        except NoAnswerError as error:
            raise CommandError(str(error)) from error  # without knowing who is alive nothing is safe to remove
        verb = "would be " if options["dry_run"] else ""
        for name, done in (
            ("expired", report.expired),
            ("completed", report.completed),
            ("returned of idle reservations", report.reservations),
            ("removed as orphans", report.orphans),
        ):
            self.stdout.write(f"{verb}{name}: {len(done)}")
            if options["verbosity"] > 1:
                for key in done:
                    self.stdout.write(f"  {key}")
        self.stdout.write(f"{verb}forgotten of daily use: {report.forgotten}")
        self.stdout.write(f"{verb}forgotten of counted downloads: {report.forgotten_downloads}")
        self.stdout.write(f"{verb}forgotten of files that came to nothing: {report.forgotten_files}")
        if report.problems:
            raise CommandError("\n".join(report.problems))

    async def _clean(self, dry_run: bool) -> cleanup.Report:
        try:
            return await cleanup.clean(await alive_uploads(), dry_run=dry_run)
        finally:
            await close_stores()
