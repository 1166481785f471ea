#!/usr/bin/env python3
"""DirectDriveX's command line: `manage.py help` lists the commands."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "directdrivex.settings")
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        settings.SECRET_KEY  # noqa: B018 - reading one setting loads them all
    except ImproperlyConfigured as error:
        # One sentence for the operator; a traceback would hide it.
        sys.exit(f"DirectDriveX cannot start: {error}")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
