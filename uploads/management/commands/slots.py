from typing import Any

from asgiref.sync import async_to_sync
from django.core.management.base import BaseCommand, CommandError, CommandParser

from uploads.slots import asking, control


class Command(BaseCommand):
    help = "Shows who has an upload slot and who waits; checks and repairs the slots' invariants (docs/slots.md)."

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--check", action="store_true", help="Name every violation; exit code 1 if there is one.")
        what.add_argument("--repair", action="store_true", help="Mend what --check finds, and say what was done.")
        what.add_argument("--release", metavar="ID", help="Take the slot or place of this upload away.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["check"]:
                self._check(self._ask("check"))
            elif options["repair"]:
                for line in self._ask("repair") or ["Nothing was wrong."]:
                    self.stdout.write(line)
            elif options["release"]:
                if not self._ask("release", upload_id=options["release"]):
                    raise CommandError(f"{options['release']} has neither a slot nor a place.")
                self.stdout.write(f"{options['release']} has no slot or place any longer.")
            else:
                self._show(self._ask("snapshot"))
        except control.NoServerError:
            if options["release"]:
                raise CommandError(
                    f"{options['release']} has neither a slot nor a place: no upload is running."
                ) from None
            self.stdout.write("No upload is running or waiting: nothing holds a slot.")
        except control.NoAnswerError as error:
            raise CommandError(str(error)) from None

    def _ask(self, verb: str, **arguments: str) -> Any:
        return async_to_sync(asking.ask)(verb, **arguments)

    def _check(self, violations: list[str]) -> None:
        if violations:
            raise CommandError("\n".join(violations))
        self.stdout.write("All invariants hold.")

    def _show(self, state: dict[str, Any]) -> None:
        self.stdout.write(
            f"{len(state['leases'])} of {state['total']} slots in use, {state['per_person']} a person; "
            f"{len(state['tickets'])} in line."
        )
        for lease in state["leases"]:
            away = "" if lease["connected"] else ", connection lost"
            self.stdout.write(f"slot   {lease['upload_id']}  {lease['person']}  {lease['held_seconds']:.0f} s{away}")
        for ticket in state["tickets"]:
            self.stdout.write(
                f"{ticket['position']:>5}  {ticket['upload_id']}  {ticket['person']}  "
                f"waits for {ticket['waiting_for']}, {ticket['waited_seconds']:.0f} s"
            )
