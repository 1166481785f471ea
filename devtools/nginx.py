"""The nginx of `deploy/nginx` in front of programs that run: own folder, free ports on loopback, gone at the end."""

import contextlib
import datetime
import getpass
import ipaddress
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from devtools.machine import nginx
from devtools.postgres import free_port
from devtools.processes import bound_to_parent, end
from devtools.server_process import ROOT

START_SECONDS = 30.0
SHIPPED = ROOT / "deploy" / "nginx"
# What Debian's own nginx.conf has around the sites, as far as it matters, with everything in the folder.
AROUND = """
daemon off;
error_log {folder}/error.log info;
pid {folder}/nginx.pid;
worker_processes 2;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    types_hash_max_size 2048;
    gzip on;
    client_body_temp_path {folder}/temp/body;
    proxy_temp_path {folder}/temp/proxy;
    fastcgi_temp_path {folder}/temp/fastcgi;
    uwsgi_temp_path {folder}/temp/uwsgi;
    scgi_temp_path {folder}/temp/scgi;
    include {folder}/site.conf;
}}
"""


def certificate(folder: Path) -> None:
    """Write `fullchain.pem` and `privkey.pem` for 127.0.0.1, signed by nobody else, good for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    (folder / "fullchain.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )


class PrivateNginx:
    """Starts on construction, as the shipped site says but for ports, certificate and the instances' addresses.

    `url` is where it speaks TLS, `plain_url` where it sends people there. Raises `MissingToolError` without nginx.
    """

    def __init__(self, ports: Sequence[int], data_dir: Path | None = None) -> None:
        """`data_dir` is that of the instances, where they hand their files over."""
        self._program, self._data_dir = nginx(), data_dir
        self.folder = Path(tempfile.mkdtemp(prefix="directdrivex-nginx-"))
        self.folder.chmod(0o755)  # its workers are another user
        self.temp = self.folder / "temp"
        for folder in (self.temp, self.folder / "snippets"):
            folder.mkdir()
        certificate(self.folder)
        plain, tls = free_port(), free_port()
        self.plain_url, self.url = f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{tls}"
        self._write(ports, plain, tls)
        self._start(tls)

    def _write(self, ports: Sequence[int], plain: int, tls: int) -> None:
        snippets = self.folder / "snippets"
        instances = "".join(f"    server 127.0.0.1:{port} max_fails=0;\n" for port in ports)
        upstream = (SHIPPED / "upstream.conf").read_text()
        upstream = re.sub(r"(    server 127\.0\.0\.1:\d+ max_fails=0;\n)+", instances, upstream)
        (snippets / "directdrivex-upstream.conf").write_text(upstream)
        snippet = (SHIPPED / "snippet.conf").read_text()
        snippet = snippet.replace("/var/lib/directdrivex", str(self._data_dir or self.folder))
        (snippets / "directdrivex.conf").write_text(snippet)
        site = (SHIPPED / "site.conf").read_text()
        site = re.sub(r"    listen \[::\].*\n", "", site)
        site = site.replace("listen 80;", f"listen 127.0.0.1:{plain};")
        site = site.replace("listen 443 ssl;", f"listen 127.0.0.1:{tls} ssl;")
        site = site.replace("/etc/letsencrypt/live/files.example.org", str(self.folder))
        (self.folder / "site.conf").write_text(site)
        self._configuration = self.folder / "nginx.conf"
        # As docs/deployment.md has it, where nginx is to read the program's files; else its own user.
        user = f"user {getpass.getuser()};" if self._data_dir and os.geteuid() == 0 else ""
        self._configuration.write_text(user + AROUND.format(folder=self.folder))

    def _start(self, port: int) -> None:
        command = [self._program, "-p", str(self.folder), "-c", str(self._configuration)]
        with (self.folder / "output").open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, **bound_to_parent())
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "output").read_text()[-2000:]
                self.stop()
                raise RuntimeError(f"nginx did not start: {said}")
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        return self._process.pid

    def trusting(self) -> ssl.SSLContext:
        """For a client that is to believe its certificate."""
        return ssl.create_default_context(cafile=str(self.folder / "fullchain.pem"))

    def reload(self) -> None:
        """As `systemctl reload nginx`: connections that are open stay with the old workers."""
        self._process.send_signal(signal.SIGHUP)

    def log(self) -> str:
        """What it wrote to its error log, from `info` upward."""
        return (self.folder / "error.log").read_text()

    def check(self) -> str:
        """What `nginx -t` says of the configuration."""
        command = [self._program, "-t", "-p", str(self.folder), "-c", str(self._configuration)]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.stderr if done.returncode == 0 else f"failed: {done.stderr}"

    def stop(self) -> None:
        end(self._process)
        shutil.rmtree(self.folder, ignore_errors=True)
