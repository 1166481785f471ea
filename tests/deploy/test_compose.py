"""The container files of `deploy/compose`. No engine runs them here: what can be said of them without one."""

import json
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from conftest import ROOT
from devtools.machine import nginx
from devtools.nginx import certificate
from directdrivex.serving import GRACEFUL_SECONDS
from uploads.intake.registry import DRAIN_SECONDS

COMPOSE = ROOT / "deploy" / "compose"
TEXT = (COMPOSE / "compose.yaml").read_text()
SERVICES = YAML(typ="safe").load(TEXT)["services"]
INSTANCES = {name: service for name, service in SERVICES.items() if name.startswith("instance-")}


def address_of(service: dict) -> str:
    return service["networks"]["inside"]["ipv4_address"]


def names_in(path: Path) -> set[str]:
    return set(re.findall(r"^#? ?([A-Z_]+)=", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"],
        [str(Path(sys.executable).with_name("hadolint")), "Dockerfile"],
    ],
    ids=["compose.yaml", "Dockerfile"],
)
def test_a_linter_finds_nothing(command: list[str]) -> None:
    done = subprocess.run(command, cwd=COMPOSE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_setting_is_one_of_the_program_and_every_variable_one_of_the_example() -> None:
    for service in [*INSTANCES.values(), SERVICES["cleanup"]]:
        assert set(service["environment"]) <= names_in(ROOT / ".env.example")
    variables = set(re.findall(r"\$\{([A-Z_]+)", TEXT))
    assert variables - {"CERTIFICATES"} <= names_in(COMPOSE / "example.env")


def test_every_other_setting_of_the_program_reaches_it_too() -> None:
    for service in [*INSTANCES.values(), SERVICES["cleanup"]]:
        assert service["env_file"] == [".env"], "STORAGE and the rest would be read by nobody"


def test_every_file_that_is_mounted_or_copied_is_there() -> None:
    mounted = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]
    files = [COMPOSE / path for path in mounted if path.startswith(".")]
    files += [ROOT / name for name in re.findall(r"^!(.*)$", (COMPOSE / "Dockerfile.dockerignore").read_text(), re.M)]
    assert len(files) > 10
    assert not [path for path in files if not path.exists()]


def test_all_tell_the_same_addresses() -> None:
    settings = INSTANCES["instance-1"]["environment"]
    assert settings["TRUSTED_PROXIES"] == address_of(SERVICES["nginx"]), "nobody but nginx is believed"
    assert f"@{address_of(SERVICES['postgres'])}:5432/" in settings["DATABASE_URL"]
    assert f"@{address_of(SERVICES['redis'])}:6379/" in settings["REDIS_URL"]
    upstream = re.findall(r"server ([\d.]+):8000 max_fails=0;", (COMPOSE / "upstream.conf").read_text())
    assert upstream == [address_of(service) for service in INSTANCES.values()]


def test_nobody_reaches_nginx_by_a_way_that_hides_their_address() -> None:
    assert SERVICES["nginx"]["ports"] == ["0.0.0.0:80:80", "0.0.0.0:443:443"]


def test_the_health_of_a_container_is_asked_for_by_a_name_that_it_answers_to() -> None:
    [command] = re.findall(r"^HEALTHCHECK .*\n +CMD (\[.*\])$", (COMPOSE / "Dockerfile").read_text(), re.MULTILINE)
    asked: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.headers['Host']}{self.path}")
            self.send_response(200)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        server.timeout = 10
        code = json.loads(command)[-1].replace(":8000", f":{server.server_port}")
        environment = {"PUBLIC_URL": "https://files.example.org"}
        with subprocess.Popen([sys.executable, "-c", code], env=environment) as asking:
            server.handle_request()
        assert asking.returncode == 0
    assert asked == ["files.example.org/healthz"]


def test_a_container_is_stopped_no_sooner_than_its_uploads_and_downloads_are_let_go() -> None:
    for service in INSTANCES.values():
        assert int(service["stop_grace_period"].removesuffix("s")) > DRAIN_SECONDS + GRACEFUL_SECONDS + 10


def test_nginx_understands_every_line_of_its_container(tmp_path: Path) -> None:
    certificate(tmp_path)
    places = dict(volume.split(":")[1::-1] for volume in SERVICES["nginx"]["volumes"] if volume.startswith("."))
    etc = tmp_path / "etc"
    for place, source in places.items():
        target = etc / Path(place).relative_to("/etc/nginx")
        target.parent.mkdir(parents=True, exist_ok=True)
        text = (COMPOSE / source).resolve().read_text()
        text = text.replace("/etc/letsencrypt/live/files.example.org", str(tmp_path))
        target.write_text(text.replace("/dev/std", f"{tmp_path}/std").replace("/run/", f"{tmp_path}/"))
    (etc / "mime.types").write_text("types {}")
    command = [nginx(), "-t", "-p", str(tmp_path), "-c", str(etc / "nginx.conf"), "-e", "stderr"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
