"""Make the virtual environment: `python3 devtools/bootstrap.py run|dev`. Needs nothing but the standard library.

With unchanged requirements it only compares a hash. Written so that an old Python can still say what is wrong.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
VENV_PYTHON = os.path.join(VENV, "bin", "python")
PLACE = os.path.join(VENV, ".place")  # written last: an environment half made, or moved, is made again
REQUIREMENTS = {"run": ["requirements.txt"], "dev": ["requirements.txt", "requirements-dev.txt"]}
LEAST = (3, 11)
VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


def fail(sentence):
    sys.exit("DirectDriveX cannot be set up: " + sentence)


def output_of(command):
    """What the command prints, or None where it is missing or fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    except OSError:
        return None
    return done.stdout.decode().strip() if done.returncode == 0 else None


def new_enough(python):
    version = output_of([python, "-c", VERSION])
    return bool(version) and tuple(int(part) for part in version.split(".")) >= LEAST


def find_python():
    if sys.version_info[:2] >= LEAST and sys.prefix == sys.base_prefix:
        return sys.executable
    for name in ["python3", *(f"python3.{minor}" for minor in range(20, LEAST[1] - 1, -1))]:
        path = shutil.which(name)
        if path and new_enough(path):
            return path
    if sys.version_info[:2] >= LEAST:
        return sys.executable
    return fail(f"it needs Python 3.11 or newer, and found {sys.version_info[0]}.{sys.version_info[1]} only.")


def content_of(path):
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        return None


def find_uv():
    path = shutil.which("uv")
    return path if path and output_of([path, "--version"]) else None  # a version manager's shim may lead nowhere


def run(command):
    environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", VIRTUAL_ENV=VENV)
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, env=environment)
    if done.returncode:
        fail(f"`{' '.join(command)}` failed; its own words stand above.")


def make_venv(uv):
    python = find_python()
    if os.path.lexists(VENV):
        shutil.rmtree(VENV)  # half made, or its Python is gone
    print(f"Making the virtual environment .venv with {python} ...", flush=True)
    if uv:
        run([uv, "venv", "--quiet", "--python", python, VENV])
    elif output_of([python, "-c", "import ensurepip, venv"]) is not None:
        run([python, "-m", "venv", VENV])
    elif output_of([python, "-c", "import venv, pip"]) is not None:
        run([python, "-m", "venv", "--without-pip", VENV])
    else:
        version = output_of([python, "-c", VERSION])
        fail(
            f"{python} has no `ensurepip` and no `pip`. "
            f"Please install the package python{version}-venv (Debian's name), or uv."
        )


def install(uv, files):
    print(f"Installing {' and '.join(files)} ...", flush=True)
    wanted = [part for name in files for part in ("-r", name)]
    if uv:
        # uv leaves compiling to the first import, which may not be allowed to keep it: each start takes thrice as long.
        run([uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", VENV_PYTHON, *wanted])
    elif output_of([VENV_PYTHON, "-c", "import pip"]) is not None:
        run([VENV_PYTHON, "-m", "pip", "install", "--quiet", *wanted])
    else:
        # Debian's own pip can fill an environment that has none.
        run([find_python(), "-m", "pip", "--python", VENV_PYTHON, "install", "--quiet", *wanted])


def digest_of(files):
    digest = hashlib.sha256(VENV.encode())  # a moved checkout needs its environment made anew
    for name in files:
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def stamped(files):
    return content_of(os.path.join(VENV, ".stamp-" + files[-1])) == digest_of(files) and os.path.exists(VENV_PYTHON)


def main():
    files = REQUIREMENTS[sys.argv[1]]
    if stamped(files):
        return
    os.makedirs(os.path.join(ROOT, ".cache"), exist_ok=True)
    with open(os.path.join(ROOT, ".cache", "bootstrap.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamped(files):  # another start was first
            return
        uv = find_uv()
        if not (os.path.exists(VENV_PYTHON) and content_of(PLACE) == VENV):
            make_venv(uv)
            with open(PLACE, "w") as file:
                file.write(VENV)
        install(uv, files)
        with open(os.path.join(VENV, ".stamp-" + files[-1]), "w") as file:
            file.write(digest_of(files))


if __name__ == "__main__":
    main()
