from contextlib import ExitStack, closing
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from directdrivex import service_manager, serving
from directdrivex.databases.breaker import breaker
from directdrivex.databases.sqlite3.base import kept_open


class Command(BaseCommand):
    help = "Serves on HOST:PORT with the server that SERVER names, and prints the address. PORT=0 takes a free port."

    def handle(self, *args: Any, **options: Any) -> None:
        host, port = str(settings.HOST), settings.PORT
        try:
            listener = serving.listen(host, port)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise CommandError(f"Cannot listen on {host} port {port}: {reason}.")
        breaker.on = True
        address = serving.address_of(listener)
        with ExitStack() as stack:
            if connection.vendor == "sqlite":
                stack.enter_context(closing(kept_open(connection.settings_dict["NAME"])))
            serving.serve(listener, lambda: _ready(address))


def _ready(address: str) -> None:
    print(f"DirectDriveX listens on {address}", flush=True)
    service_manager.tell("READY=1")
