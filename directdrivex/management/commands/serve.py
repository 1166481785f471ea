import asyncio
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from socket import socket
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from directdrivex import service_manager, serving, workers
from directdrivex.databases.breaker import breaker
from directdrivex.databases.sqlite3.base import kept_open
from uploads.fleet.fleet import MismatchError, refuse_strangers


class Command(BaseCommand):
    help = (
        "Serves on HOST:PORT with the server that SERVER names, in WORKERS processes, and prints the address. "
        "PORT=0 takes a free port. SIGTERM ends all; SIGHUP replaces several workers one by one."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if handed := workers.handed():
            self._serve(handed.listener, handed.ready)
            return
        try:
            asyncio.run(refuse_strangers())
        except MismatchError as error:
            raise CommandError(str(error))
        host, port = str(settings.HOST), settings.PORT
        try:
            listener = serving.listen(host, port)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise CommandError(f"Cannot listen on {host} port {port}: {reason}.")
        address = serving.address_of(listener)

        def ready() -> None:
            print(f"DirectDriveX listens on {address}", flush=True)
            service_manager.tell("READY=1")

        if settings.WORKERS > 1:
            sys.exit(workers.Supervisor(listener, settings.WORKERS, ready).run())
        self._serve(listener, ready)

    def _serve(self, listener: socket, ready: Callable[[], None]) -> None:
        breaker.on = True
        with ExitStack() as stack:
            if connection.vendor == "sqlite":
                stack.enter_context(closing(kept_open(connection.settings_dict["NAME"])))
            serving.serve(listener, ready)
