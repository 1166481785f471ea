"""Reading settings from the environment; a bad value raises `ImproperlyConfigured` with one sentence.

Only `settings.py` reads by this. Every variable is listed in `.env.example`.
"""

import fcntl
import ipaddress
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured
from redis import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

REDIS_SECONDS = 2.0  # the longest wait for Redis to take a connection
MIB = 1024 * 1024

_env = environ.Env()
_of_the_file: set[str] = set()


def load_dotenv(path: Path) -> None:
    """Read `path` as a .env file, if it is there; real environment variables win over it."""
    if path.is_file():
        given = set(os.environ)
        environ.Env.read_env(str(path))
        _of_the_file.update(os.environ.keys() - given)


def of_the_caller() -> dict[str, str]:
    """The environment without what a .env file brought: for a child that reads that file, as it is then, itself."""
    return {name: value for name, value in os.environ.items() if name not in _of_the_file}


def _get(name: str) -> str | None:
    """The variable's text, or None where it is unset or empty (an empty line in .env means unset)."""
    value = os.environ.get(name, "").strip()
    return value or None


def text(name: str, default: str | None = None) -> str | None:
    return _get(name) or default


def choice(name: str, options: tuple[str, ...], default: str) -> str:
    value = (_get(name) or default).lower()
    if value not in options:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be one of {', '.join(options)}.")
    return value


def integer(name: str, default: int | None = None, *, least: int = 0, most: int = 2**63 - 1) -> Any:
    """A whole number from `least` to `most`, or `default` where the variable is unset."""
    value = _get(name)
    if value is None:
        return default
    try:
        number = int(value.replace("_", ""))
    except ValueError:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be a whole number.") from None
    if not least <= number <= most:
        raise ImproperlyConfigured(f"{name} is {number}; it must be from {least} to {most}.")
    return number


def boolean(name: str, default: bool | None = None) -> Any:
    value = _get(name)
    if value is None:
        return default
    if value.lower() in _env.BOOLEAN_TRUE_STRINGS:
        return True
    if value.lower() in ("false", "off", "no", "n", "0"):
        return False
    raise ImproperlyConfigured(f"{name} is {value!r}; it must be true or false.")


def is_weak_secret(secret: str) -> bool:
    """Whether it is short, hardly more than one letter, or one that Django's own tools leave to be changed."""
    return len(secret) < 50 or len(set(secret)) < 5 or secret.startswith("django-insecure-")


def items(name: str) -> list[str]:
    """A comma-separated list, blanks dropped."""
    return [item.strip() for item in (_get(name) or "").split(",") if item.strip()]


def networks(name: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    result = []
    for item in items(name):
        try:
            result.append(ipaddress.ip_network(item, strict=False))
        except ValueError:
            raise ImproperlyConfigured(f"{name} has {item!r}, which is no IP address or network.") from None
    return result


def origin(name: str) -> str | None:
    """A URL of scheme, host and optional port (a path prefix is refused), without a trailing slash."""
    value = _get(name)
    if value is None:
        return None
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must look like https://files.example.org.")
    return f"{parts.scheme}://{parts.netloc}"


def confidential_url(name: str, default: str) -> str:
    """A URL that secrets are sent to: of https, or of http on this machine; without a trailing slash."""
    value = _get(name) or default
    parts = urlsplit(value)
    here = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not parts.hostname or parts.query or not (parts.scheme == "https" or here):
        raise ImproperlyConfigured(f"{name} is {value!r}; it must begin with https://, or http:// on this machine.")
    return value.rstrip("/")


def database(name: str, default: str) -> dict[str, Any]:
    value = _get(name) or default
    try:
        config = environ.Env.db_url_config(value)
    except (ValueError, KeyError) as error:
        raise ImproperlyConfigured(f"{name} is not a database URL that can be read: {error}.") from None
    if config.get("ENGINE") not in ("django.db.backends.sqlite3", "django.db.backends.postgresql"):
        raise ImproperlyConfigured(f"{name} must begin with sqlite:/// or postgres://.")
    return dict(config)


def redis_url(name: str) -> str | None:
    value = _get(name)
    if value is not None:
        try:
            ConnectionPool.from_url(value)
        except ValueError as error:
            raise ImproperlyConfigured(f"{name} is not a Redis URL that can be read: {error}.") from None
    return value


def redis_layer(url: str) -> dict[str, Any]:
    """The channel layer on this Redis; the slots take their connection from here."""
    connection: dict[str, Any] = {
        "address": url,
        "socket_connect_timeout": REDIS_SECONDS,
        "health_check_interval": 15,  # seconds
        "retry": Retry(NoBackoff(), 1),  # one that lay idle may belong to a Redis that has restarted
    }
    if not url.startswith("unix://"):
        connection["socket_keepalive"] = True
    return {"BACKEND": "directdrivex.layer.PatientRedisLayer", "CONFIG": {"hosts": [connection]}}


def kept_secret(path: Path, make: Callable[[], str] = lambda: secrets.token_urlsafe(50)) -> str:
    """The secret kept in `path` (mode 0600), made on first use, so that sessions survive a restart."""
    with suppress(FileNotFoundError):
        if kept := path.read_text():
            return kept
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        # Processes start together: who comes while another is about to write it must not go on without.
        fcntl.flock(file, fcntl.LOCK_EX)
        if not (secret := file.read()):
            secret = make()
            file.write(secret)
    return secret
