"""The images that machines are booted from are complete, and say nothing of the machine that they were made on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[4]
SOURCES = REPOSITORY / "deploy/sandbox/machines/image"
IMAGES = REPOSITORY / "target/sandbox/machines"
PLAIN, RAY, WHEELS = IMAGES / "plain", IMAGES / "ray", IMAGES / "wheels"

pytestmark = pytest.mark.skipif(not os.access(PLAIN / "etc", os.R_OK), reason="there are no images: root makes them")


def locked() -> dict[str, str]:
    """Project -> version, as requirements.lock pins them."""
    lines = (SOURCES / "requirements.lock").read_text().splitlines()
    return dict(line.split("==") for line in lines)


def in_plain(*command: str) -> str:
    """What a command says that runs in the plain image."""
    return subprocess.run(["chroot", PLAIN, *command], check=True, capture_output=True, text=True).stdout


def test_the_plain_image_has_what_a_machine_is_booted_with() -> None:
    for program in ("systemctl", "sshd", "cloud-init", "sudo", "curl", "python3", "ip", "rsync"):
        assert in_plain("sh", "-c", f"command -v {program}"), program
    in_plain("python3", "-c", "import ensurepip, venv")


def test_the_plain_image_has_the_files_of_ours_for_everybody_to_read() -> None:
    files = [file.relative_to(SOURCES / "files") for file in (SOURCES / "files").rglob("*") if file.is_file()]
    assert files
    for file in files:
        assert (PLAIN / file).read_text() == (SOURCES / "files" / file).read_text()
        # As an ordinary user of the machine, through all folders above it.
        in_plain("setpriv", "--reuid=1000", "--clear-groups", "test", "-r", f"/{file}")


def test_the_first_boot_decides_who_a_machine_is() -> None:
    assert (PLAIN / "etc/machine-id").read_text() == ""
    assert not list((PLAIN / "etc/ssh").glob("ssh_host_*"))
    assert not (PLAIN / "etc/hostname").exists()
    assert not list((PLAIN / "home").iterdir())
    assert "default_user" in (PLAIN / "etc/cloud/cloud.cfg").read_text()
    assert ":1000:" not in (PLAIN / "etc/passwd").read_text()


def test_nothing_of_this_machine_is_in_the_image() -> None:
    assert not (PLAIN / "etc/resolv.conf").exists()
    assert not (PLAIN / "etc/apt/sources.list").exists()
    assert not list((PLAIN / "etc/apt/sources.list.d").iterdir())
    assert "Acquire" not in "".join(file.read_text() for file in (PLAIN / "etc/apt/apt.conf.d").iterdir())


def test_what_needs_the_internet_or_a_disk_is_masked() -> None:
    wanted = re.search(r"masked=\(([^)]*)\)", (SOURCES / "plain.sh").read_text())
    assert wanted and "apt-daily.timer" in wanted[1].split()
    for unit in wanted[1].split():
        assert (PLAIN / "etc/systemd/system" / unit).readlink() == Path("/dev/null"), unit
    assert not (PLAIN / "usr/sbin/dhclient").exists()


def test_the_layer_has_the_locked_packages_compiled_and_nothing_else() -> None:
    assert [entry.name for entry in RAY.iterdir()] == ["opt"]
    assert [entry.name for entry in (RAY / "opt").iterdir()] == ["ray"]
    packages = next((RAY / "opt/ray/lib").glob("python3*")) / "site-packages"
    found = {}
    for metadata in packages.glob("*.dist-info/METADATA"):
        head = metadata.read_text()
        name, version = (re.search(rf"^{key}: (.+)$", head, re.MULTILINE) for key in ("Name", "Version"))
        assert name and version
        found[re.sub(r"[-_.]+", "-", name[1]).lower()] = version[1]
    assert {project: version for project, version in found.items() if project not in ("pip", "setuptools")} == locked()
    assert list((packages / "ray/__pycache__").glob("__init__.*.pyc"))


@pytest.fixture
def index() -> Iterator[str]:
    """The package index, served as in the sandbox: by Python's own file server."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(WHEELS))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/simple/"
        server.shutdown()


def test_the_index_serves_all_that_a_machine_installs(index: str, tmp_path: Path) -> None:
    """What pip would choose for a new environment from this index alone: the lock, not less and not more."""
    report = tmp_path / "report.json"
    requirements = [
        line for line in (SOURCES / "requirements.in").read_text().splitlines() if line[:1] not in ("", "#")
    ]
    version = in_plain("python3", "-c", "import platform; print(platform.python_version())").strip()
    options = ["--isolated", "--no-cache-dir", "--dry-run", "--ignore-installed", "--only-binary=:all:"]
    places = [f"--target={tmp_path}", f"--report={report}", f"--index-url={index}", f"--python-version={version}"]
    command = [sys.executable, "-m", "pip", "install", *options, *places, *requirements]
    subprocess.run(command, check=True, capture_output=True)
    chosen = {
        item["metadata"]["name"]: item["metadata"]["version"] for item in json.loads(report.read_text())["install"]
    }
    assert {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in chosen.items()} == locked()
