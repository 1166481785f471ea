"""`make check`: what can be said of the code without running it. All of it runs, then the failures are named."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from devtools import messages, node
from devtools.machine import MissingToolError
from devtools.server_process import ROOT, program_environment

PYTHON = sys.executable
LINT_IMPORTS = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_logo=True))"
Step = Callable[[dict[str, str]], str]


def command(*words: str) -> Step:
    """A step that fails with the command's output where its exit code is not 0."""

    def run(environment: dict[str, str]) -> str:
        done = subprocess.run(
            words, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        return (done.stdout + done.stderr).strip() or f"exit code {done.returncode}" if done.returncode else ""

    return run


def front_end_types(environment: dict[str, str]) -> str:
    try:
        tsc = node.tsc()
    except MissingToolError as error:
        return str(error)
    return command(*tsc, "-p", "tsconfig.json")(environment)


def translations(environment: dict[str, str]) -> str:
    return "\n".join(messages.problems())


STEPS: dict[str, Step] = {
    "format": command(PYTHON, "-m", "ruff", "format", "--check", "--quiet", "."),
    "lint": command(PYTHON, "-m", "ruff", "check", "--quiet", "."),
    "types": command(PYTHON, "-m", "mypy"),
    "architecture": command(PYTHON, "-c", LINT_IMPORTS),
    "configuration": command(PYTHON, "manage.py", "check", "--fail-level", "WARNING"),
    "migrations": command(PYTHON, "manage.py", "makemigrations", "--check", "--dry-run"),
    "front end types": front_end_types,
    "translations": translations,
}


def main() -> int:
    failed = []
    with tempfile.TemporaryDirectory() as data:
        environment = program_environment({"DATA_DIR": data, "SECRET_KEY": "check"})
        for name, step in STEPS.items():
            began = time.monotonic()
            problem = step(environment)
            print(f"{'FAILED' if problem else 'ok':7}{name} ({time.monotonic() - began:.1f} s)", flush=True)
            if problem:
                failed.append(name)
                print(problem, flush=True)
    if failed:
        print(f"make check: {', '.join(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
