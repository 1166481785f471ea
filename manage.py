#!/usr/bin/env python3
"""DirectDriveX's command line: `manage.py help` lists the commands."""

import gc
import os
import sys


def main() -> None:
    # What is imported now stays: to look for garbage in it, again and again, is a sixth of the time of a start.
    gc.disable()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "directdrivex.settings")
    import django
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        settings.SECRET_KEY  # noqa: B018 - reading one setting loads them all
    except ImproperlyConfigured as error:
        # One sentence for the operator; a traceback would hide it.
        sys.exit(f"DirectDriveX cannot start: {error}")
    django.setup()
    gc.freeze()
    gc.enable()
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
