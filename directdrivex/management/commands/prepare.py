import fcntl
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError, OperationalError, connection, transaction

from quotas.services import seed_profiles
from uploads.drive_accounts import make_env_account

LOCK = 0x6464_7870  # any number that nobody else locks in our database


@contextmanager
def alone() -> Iterator[None]:
    """Wait until nobody else prepares this database: instances start together, and migrations cannot run twice."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
            try:
                yield
            finally:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
    else:
        with (settings.DATA_DIR / "prepare.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class Command(BaseCommand):
    help = "Makes the database ready: migrations, limit profiles and the admin. Safe to run at every start."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with alone():
                self._prepare()
        except OperationalError as error:
            raise CommandError(f"The database cannot be used: {str(error).strip()}.")

    def _prepare(self) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        seed_profiles()
        if settings.STORAGE == "gdrive":
            self._drive_account()
        if settings.ADMIN_EMAIL:
            self._named_admin(settings.ADMIN_EMAIL)
        elif settings.DEVELOPMENT and not get_user_model().objects.filter(is_superuser=True).exists():
            self._create("admin", "", None)

    def _drive_account(self) -> None:
        try:
            account = make_env_account()
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from None
        if settings.GDRIVE_TRIAL:
            self.stdout.write(f"A trial: Drive is the emulator at {settings.GDRIVE_API_ROOT} (make emulator).")
        elif account is not None:
            self.stdout.write(f"The Drive account {account} was created; manage.py drive_accounts --check asks it.")

    def _named_admin(self, email: str) -> None:
        """The admin whom the environment names is made if missing; an existing account is never changed."""
        users = get_user_model().objects
        existing = users.filter(username__iexact=email).first() or users.filter(email__iexact=email).first()
        if existing is None:
            if not settings.ADMIN_PASSWORD and not settings.DEVELOPMENT:
                raise CommandError("ADMIN_PASSWORD is missing; ADMIN_EMAIL names an admin who is to be created.")
            self._create(email, email, settings.ADMIN_PASSWORD)
        elif not existing.is_superuser:
            self.stdout.write(f"{email} has an account that is no admin's; it was left as it is.")

    def _create(self, username: str, email: str, password: str | None) -> None:
        shown = password is None
        password = password or secrets.token_urlsafe(12)
        try:
            with transaction.atomic():
                get_user_model().objects.create_superuser(username, email, password)
        except IntegrityError:
            return  # another start was first
        if shown:
            self.stdout.write(f"Admin name: {username}  password: {password}  (shown this once)")
        else:
            self.stdout.write(f"The admin {username} was created.")
