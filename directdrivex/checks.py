"""Configuration that cannot work is refused at start, each with a sentence that says what to set."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from directdrivex import env


@register()
def several_workers_share_their_stores(**kwargs: Any) -> list[CheckMessage]:
    if settings.WORKERS == 1:
        return []
    problems: list[CheckMessage] = []
    if not settings.REDIS_URL:
        problems.append(
            Error(
                f"WORKERS is {settings.WORKERS}, but without Redis slots are kept in the memory of one process.",
                hint="Set REDIS_URL=redis://…, or WORKERS=1.",
                id="directdrivex.E001",
            )
        )
    if settings.DATABASES["default"]["ENGINE"] == "directdrivex.databases.sqlite3":
        problems.append(
            Error(
                f"WORKERS is {settings.WORKERS}, but in SQLite one writer keeps all others waiting.",
                hint="Set DATABASE_URL=postgres://…, or WORKERS=1.",
                id="directdrivex.E005",
            )
        )
    if settings.SERVER == "daphne":
        problems.append(
            Error(
                f"WORKERS is {settings.WORKERS}, but daphne serves with one process.",
                hint="Unset SERVER, or set WORKERS=1.",
                id="directdrivex.E006",
            )
        )
    return problems


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
                hint="Set SECRETS_KEY to at least 50 random characters, and keep it apart from the database's backups.",
                id="directdrivex.E004",
            )
        ]
    return []


@register()
def nginx_stands_in_front_where_it_is_to_send(**kwargs: Any) -> list[CheckMessage]:
    if settings.DOWNLOAD_ACCEL == "nginx" and not settings.TRUSTED_PROXIES:
        return [
            Error(
                "DOWNLOAD_ACCEL is nginx, but no proxy in front of the program is trusted.",
                hint="Set TRUSTED_PROXIES to nginx's address, or DOWNLOAD_ACCEL=off.",
                id="directdrivex.E007",
            )
        ]
    return []
