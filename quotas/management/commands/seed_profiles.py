"""`manage.py seed_profiles`: part of every start."""

from typing import Any

from django.core.management.base import BaseCommand

from quotas.services import seed_profiles


class Command(BaseCommand):
    help = "Creates the limit profiles that are missing; never changes one that exists."

    def handle(self, *args: Any, **options: Any) -> None:
        seed_profiles()
