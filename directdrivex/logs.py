"""One log: structlog for our lines and everyone else's, as text for people or JSON for machines, on standard error."""

import logging.config
import os
from typing import Any

import structlog

MOST_CHARACTERS = 1000


def within_bounds(logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Cut what strangers can make as long as they like: an address of 60 KiB would be logged three times over."""
    for key, value in event.items():
        if isinstance(value, str) and len(value) > MOST_CHARACTERS:
            event[key] = f"{value[:MOST_CHARACTERS]}… ({len(value)} characters)"
    return event


def without_queries(logger: Any, method: str, event: Any) -> Any:
    """A request's line tells its path alone: what comes behind it may be a secret, such as the code of a consent."""
    if isinstance(request := event.get("request"), str):
        event["request"] = request.partition("?")[0]
    return event


def _name_worker(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    event.setdefault("worker", os.getpid())
    return event


def configure(config: dict[str, Any]) -> None:
    """Set logging up from `{"level", "colours", "as_json", "workers"}`; Django calls it with `settings.LOGGING`.

    Where there are several `workers`, each line says which of them wrote it.
    """
    shared: list[Any] = [
        *([_name_worker] if config["workers"] > 1 else []),
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
        within_bounds,
        structlog.processors.StackInfoRenderer(),
    ]
    if config["as_json"]:
        last: list[Any] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        last = [
            structlog.dev.ConsoleRenderer(
                colors=config["colours"],
                # The default shows local variables, and among them upload tokens.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "ours": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
                    "foreign_pre_chain": shared,
                }
            },
            "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "ours"}},
            "root": {"handlers": ["console"], "level": config["level"]},
            "loggers": {
                # One line a request comes from django_structlog; the servers' own would say it again.
                "uvicorn.access": {"level": "WARNING"},
                "uvicorn.error": {"level": "WARNING"},
                "daphne": {"level": "WARNING"},
                "django.channels.server": {"level": "WARNING"},
            },
        }
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            without_queries,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
