"""Configuration that cannot work is refused at start, each with a sentence that says what to set."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from directdrivex import env


@register()
def one_worker_with_memory_slots(**kwargs: Any) -> list[CheckMessage]:
    if settings.WORKERS > 1:
        return [
            Error(
                f"WORKERS is {settings.WORKERS}, but slots are kept in the memory of one process.",
                hint="Set WORKERS=1. Several workers need a slot store that they share.",
                id="directdrivex.E001",
            )
        ]
    return []


@register()
def production_has_a_strong_secret(**kwargs: Any) -> list[CheckMessage]:
    """A weak key is told and not refused: scripts start production with a key of their own, and rely on that."""
    if settings.ENVIRONMENT == "production" and env.is_weak_secret(settings.SECRET_KEY or ""):
        return [
            Warning(
                "SECRET_KEY is easily guessed; who guesses it can sign in as anybody.",
                hint="Set SECRET_KEY to at least 50 random characters.",
                id="directdrivex.W001",
            )
        ]
    return []


@register()
def stored_secrets_have_a_key(**kwargs: Any) -> list[CheckMessage]:
    if settings.STORAGE == "gdrive" and settings.SECRETS_KEY_IS_DERIVED and not settings.DEVELOPMENT:
        return [
            Error(
                "SECRETS_KEY is missing; it encrypts what the database keeps of the Google accounts.",
                hint="Set SECRETS_KEY to at least 50 random characters, and keep it with your backups' other keys.",
                id="directdrivex.E004",
            )
        ]
    return []
