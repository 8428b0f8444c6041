"""The end of a stand-in is the end of its machines, however it comes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from tests.conftest import PACKAGE, until
from tests.machines.conftest import IMAGES

_INSIDE = PACKAGE.parent / "inside"


def nested(what: str) -> subprocess.Popen[str]:
    """A boundary of its own with a stand-in and a machine, which is running already."""
    return subprocess.Popen(
        [str(_INSIDE), sys.executable, "-m", "tests.machines.nested", what],
        cwd=PACKAGE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def left_of(machine: str) -> list[Path]:
    """Its control groups and its disk, which a boundary shares with those around it."""
    found = [*Path("/sys/fs/cgroup").glob(f"**/{machine}"), *(IMAGES / "disks").glob(f"*/{machine}")]
    return [each for each in found if each.exists()]


def lives(machine: str) -> bool:
    return any("populated 1" in each.read_text() for each in Path("/sys/fs/cgroup").glob(f"**/{machine}/cgroup.events"))


def test_a_boundary_that_is_told_to_end_leaves_nothing() -> None:
    process = nested("wait")
    machine = said(process)
    assert left_of(machine) != []
    process.terminate()
    assert process.wait(15) == 128 + signal.SIGTERM
    assert left_of(machine) == []


def test_a_killed_stand_in_leaves_nothing_and_one_beside_it_lives() -> None:
    other = nested("wait")
    its_machine = said(other)
    process = nested("kill")
    machine = said(process)
    assert machine.startswith("i-")
    assert json.loads(said(process)) == []
    assert process.wait(10) == 0
    assert left_of(machine) == []
    assert lives(its_machine)
    # The boundary killed with all in it, its keeper too: the kernel ends the machines, the next one puts away the rest.
    other.kill()
    other.wait(10)
    until(lambda: not lives(its_machine))
    assert nested("start").wait(20) == 0
    assert left_of(its_machine) == []
