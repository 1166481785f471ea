"""The rules of imports themselves stand in pyproject.toml; these tests hold the rules to what the modules promise."""

import ast
import os
import subprocess
import sys
import tomllib

from conftest import ROOT
from devtools.server_process import program_environment

APPS = ("directdrivex", "uploads", "quotas", "monitoring")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def promising_modules() -> set[str]:
    """The modules whose docstring says that they need no Django (or name both Django and Channels)."""
    found = set()
    for app in APPS:
        for path in (ROOT / app).rglob("*.py"):
            docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
            words = " ".join(docstring.split())
            if "eeds no Django" in words or "here needs Django" in words:
                found.add(".".join(path.relative_to(ROOT).with_suffix("").parts))
    return found


def test_every_module_that_says_it_needs_no_django_is_held_to_it():
    held = set(next(contract for contract in CONTRACTS if "need no Django" in contract["name"])["source_modules"])
    assert promising_modules() <= held


def test_imports_run_one_way():
    command = (
        "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True, no_logo=True))"
    )
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_start_loads_nothing_of_drive_and_nothing_of_the_other_server():
    """Each would take as long as much of our own: whoever needs it loads it then."""
    rare = {"daphne.server", "twisted.internet", "aiohttp", "google.auth", "requests", "oauthlib"}
    script = (
        "import sys, django; from django.conf import settings; settings.SECRET_KEY; django.setup(); "
        "import directdrivex.asgi, directdrivex.urls, directdrivex.serving; "
        f"print(sorted({rare!r} & set(sys.modules)))"
    )
    environment = program_environment({"DATA_DIR": os.environ["DATA_DIR"], "SERVER": "uvicorn"})
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
