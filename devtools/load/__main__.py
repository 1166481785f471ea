"""`make load LOAD="…"`, or `python -m devtools.load URL …`: see docs/deployment.md. Ends with 1 after any fault."""

import argparse
import asyncio
import contextlib
import dataclasses
import ipaddress
import json
import resource
import secrets
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from urllib.parse import urlsplit

from devtools.load.plan import MIB, Options, people
from devtools.load.sender import Sender
from devtools.load.tally import Tally, in_words

SAID_EVERY_SECONDS = 10.0
ANSWER_SECONDS = 10.0


def is_loopback(url: str) -> bool:
    """Whether all addresses of the URL's host are this machine's own. Raises `OSError` for an unknown host."""
    parts = urlsplit(url)
    found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
    return all(ipaddress.ip_address(address[4][0]).is_loopback for address in found)


def why_silent(url: str) -> str:
    """Why nobody answers there, or "" where somebody does. What time does not mend would be tried to the end."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        direct.open(f"{url}/healthz", timeout=ANSWER_SECONDS).close()
    except urllib.error.HTTPError:
        return ""
    except OSError as error:
        return str(getattr(error, "reason", error))
    return ""


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m devtools.load", description=__doc__)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8000", help="default: %(default)s")
    texts = {
        "uploads": "files in all",
        "people": "persons who share them",
        "at_once": "files that one person has before the server at the same time",
        "smallest": "bytes; sizes are spread evenly over their magnitudes",
        "largest": "bytes",
        "slow_people": "share of people on a slow line",
        "slow_rate": "bytes a second of a slow line",
        "fast_rate": "bytes a second of the others; 0: as fast as it goes",
        "disconnects": "share of uploads whose connection breaks once",
        "pauses": "share of uploads that are paused once",
        "cancels": "share of uploads that are cancelled",
        "downloads": "share of uploads that are downloaded and compared",
        "arrive_within": "seconds in which all people have come",
        "seconds": "when it ends at the latest",
        "seed": "the same numbers make the same people, files and mishaps",
    }
    defaults = {field.name: field.default for field in dataclasses.fields(Options)}
    for name, text in texts.items():
        default = defaults[name]
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, type=type(default), default=default, help=f"{text} ({default})")
    parser.add_argument(
        "--forwarded",
        action="store_true",
        help="tell people apart by X-Forwarded-For (needs TRUSTED_PROXIES), and not by addresses of loopback",
    )
    parser.add_argument("--keep", action="store_true", help="leave the files on the server")
    parser.add_argument("--elsewhere", action="store_true", help="the target is not this machine, and you may load it")
    parser.add_argument("--json", metavar="FILE", help="write the report there too")
    return parser.parse_args(words)


async def run(options: Options, tally: Tally) -> None:
    """Let everybody come, and return when all is over, or at the end of the time."""
    label = secrets.token_hex(8)
    began = time.monotonic()
    reporting = asyncio.create_task(_say_how_far(options, tally))
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(options.seconds), asyncio.TaskGroup() as everybody:
                for person in people(options):
                    everybody.create_task(Sender(options, person, tally, label).come())
    finally:
        reporting.cancel()
        tally.elapsed = time.monotonic() - began


async def _say_how_far(options: Options, tally: Tally) -> None:
    while True:
        await asyncio.sleep(SAID_EVERY_SECONDS)
        print(f"{tally.ended} of {options.uploads} over, {tally.bytes / MIB:.0f} MiB", file=sys.stderr, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    chosen = arguments(words)
    try:
        local = is_loopback(chosen.url)
    except OSError as error:
        print(f"{chosen.url}: {error.strerror}", file=sys.stderr)
        return 2
    if not local and not chosen.elsewhere:
        print(f"{chosen.url} is not this machine; say --elsewhere if you may load it.", file=sys.stderr)
        return 2
    if not local and not chosen.forwarded:
        print("From elsewhere people differ by --forwarded alone, and TRUSTED_PROXIES must name you.", file=sys.stderr)
        return 2
    if reason := why_silent(chosen.url):
        print(f"{chosen.url} does not answer: {reason}", file=sys.stderr)
        return 2
    _soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    names = {field.name for field in dataclasses.fields(Options)}
    options = Options(**{name: value for name, value in vars(chosen).items() if name in names})
    tally = Tally()
    asyncio.run(run(options, tally))
    report = {"seed": options.seed, **tally.report(options.uploads)}
    if chosen.json:
        with open(chosen.json, "w") as file:
            json.dump(report, file, indent=1)
    print(in_words(report))
    return 1 if report["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
