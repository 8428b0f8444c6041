"""What a test can do to a machine."""

from __future__ import annotations

import urllib.error

import pytest

from tests.conftest import until
from tests.machines.conftest import Machine, who_is_at


def test_a_pulled_cable(head: Machine, worker: Machine) -> None:
    address = head.public
    head.act("cable", plugged=False)
    assert not head.told["plugged"]
    assert who_is_at(address, 0.5) is None
    assert worker.exec("ping", "-c", "1", "-W", "1", "10.0.1.10")["code"] != 0
    # The machine itself goes on.
    assert head("hostname") == "ip-10-0-1-10"
    head.act("cable", plugged=True)
    until(lambda: who_is_at(address, 0.5) == head.id)


def test_a_frozen_machine(head: Machine) -> None:
    address = head.public
    head.act("freeze", frozen=True)
    assert head.told["frozen"]
    assert who_is_at(address, 0.5) is None
    head.act("freeze", frozen=False)
    until(lambda: who_is_at(address, 0.5) == head.id)


def test_a_full_disk(worker: Machine) -> None:
    write = ("dd", "if=/dev/zero", "of=/srv/more", "bs=1M", "count=4")
    worker.act("fill-disk")
    done = worker.exec(*write)
    assert done["code"] != 0
    assert "No space left on device" in done["stderr"]
    worker.act("fill-disk", full=False)
    worker(*write)
    worker("rm", "/srv/more")


def test_a_command_in_a_machine(worker: Machine) -> None:
    done = worker.exec("sh", "-c", "echo out; echo err >&2; exit 3")
    assert done == {"code": 3, "stdout": "out\n", "stderr": "err\n"}
    assert worker.exec("sleep", "60", seconds=0.1)["code"] != 0


def test_what_there_is_not_is_said(worker: Machine) -> None:
    for machine, action in ((worker, "explode"), (Machine(worker.cloud, "i-0123456789abcdef0"), "kill")):
        with pytest.raises(urllib.error.HTTPError) as caught:
            machine.act(action)
        assert caught.value.code == 404
