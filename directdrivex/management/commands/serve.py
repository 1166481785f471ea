import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from directdrivex import serving


class Command(BaseCommand):
    help = "Serves on HOST:PORT with the server that SERVER names, and prints the address. PORT=0 takes a free port."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            listener = serving.listen(settings.HOST, settings.PORT)
        except (OSError, UnicodeError) as error:
            reason = os.strerror(error.errno) if isinstance(error, OSError) and (error.errno or 0) > 0 else error
            raise CommandError(f"Cannot listen on {settings.HOST} port {settings.PORT}: {reason}.")
        address = serving.address_of(listener)
        serving.serve(listener, lambda: print(f"DirectDriveX listens on {address}", flush=True))
