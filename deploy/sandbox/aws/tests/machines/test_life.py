"""What the API does to instances happens to machines, and what machines do to themselves is seen in the API."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import until
from tests.machines.conftest import IMAGES, Cloud, Machine, who_is_at


def leader(machine: Machine) -> int:
    return int(machine.told["leader"])


def test_a_machine_runs_its_user_data(head: Machine) -> None:
    assert head("cat", "/srv/ran") == "ran"
    assert head("hostname") == "ip-10-0-1-10"
    assert head("cat", "/run/cloud-init/cloud-id") == "aws"
    assert head.state == "running"


def test_a_machine_has_the_memory_and_the_disk_of_its_instance(head: Machine) -> None:
    limits = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null || true"
    assert int(head("sh", "-c", limits)) == 2 << 30
    assert 7 << 30 < int(head("df", "--output=size", "--block-size=1", "/").split()[-1]) <= 8 << 30


def test_the_console(cloud: Cloud, head: Machine) -> None:
    latest = cloud.ec2.get_console_output(InstanceId=head.id, Latest=True)["Output"]
    assert "cloud-init" in latest
    assert cloud.ec2.get_console_output(InstanceId=head.id).get("Output", "") == ""
    cloud.standin.settings(console_seconds=0)
    assert cloud.ec2.get_console_output(InstanceId=head.id)["Output"] == latest
    cloud.standin.settings(console_seconds=120)
    assert "cloud-init" in head.told["console"]


def test_stop_and_start_keep_the_disk_and_the_private_address(cloud: Cloud, head: Machine) -> None:
    head("sh", "-c", "echo kept >/srv/kept")
    public = head.public
    cloud.ec2.stop_instances(InstanceIds=[head.id])
    assert head.state == "stopping"
    head.becomes("stopped")
    assert head.told["power"] == "off"
    assert who_is_at(public) is None
    cloud.ec2.start_instances(InstanceIds=[head.id])
    head.is_up()
    assert head("cat", "/srv/kept", "/srv/ran") == "kept\nran"
    assert head("hostname", "--all-ip-addresses").split()[0] == "10.0.1.10"
    assert head.public != public
    assert who_is_at(head.public) == head.id


def test_a_reboot(cloud: Cloud, head: Machine) -> None:
    before = leader(head)
    cloud.ec2.reboot_instances(InstanceIds=[head.id])
    head.boots_again(before)
    assert head.state == "running"
    assert head("cat", "/srv/ran") == "ran"


def test_a_reboot_of_its_own(head: Machine) -> None:
    before = leader(head)
    head("systemctl", "reboot")
    head.boots_again(before)
    assert head.state == "running"


def test_a_machine_that_hangs_is_rebooted_by_force(cloud: Cloud, worker: Machine) -> None:
    before = leader(worker)
    worker.act("freeze", frozen=True)
    cloud.standin.settings(patience_seconds=0.3)
    cloud.ec2.reboot_instances(InstanceIds=[worker.id])
    worker.boots_again(before)
    cloud.standin.settings(patience_seconds=20)


def test_a_machine_that_hangs_stays_stopping_until_it_is_forced(cloud: Cloud, worker: Machine) -> None:
    worker.act("freeze", frozen=True)
    cloud.ec2.stop_instances(InstanceIds=[worker.id])
    with pytest.raises(AssertionError):
        until(lambda: worker.state != "stopping", 1)
    cloud.ec2.stop_instances(InstanceIds=[worker.id], Force=True)
    worker.becomes("stopped")
    cloud.ec2.start_instances(InstanceIds=[worker.id])
    worker.is_up()


def test_a_machine_that_dies_stays_dead_until_it_is_rebooted(cloud: Cloud, worker: Machine) -> None:
    before = leader(worker)
    worker.act("kill")
    until(lambda: worker.told["power"] == "dead", 10)
    assert worker.state == "running"
    cloud.ec2.reboot_instances(InstanceIds=[worker.id])
    worker.boots_again(before)


def test_a_machine_that_switches_itself_off_is_stopped(cloud: Cloud, worker: Machine) -> None:
    worker("systemctl", "poweroff")
    worker.becomes("stopped")
    assert worker.described["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    cloud.ec2.start_instances(InstanceIds=[worker.id])
    worker.is_up()


def test_one_that_ends_when_it_switches_itself_off_leaves_nothing(cloud: Cloud, fleet: object) -> None:
    machine = cloud.launch(
        cloud.vpc, cloud.vpc.private, False, address="10.0.2.20", InstanceInitiatedShutdownBehavior="terminate"
    )
    machine.is_up()
    assert traces(machine.id) != []
    machine("systemctl", "poweroff")
    machine.becomes("terminated")
    assert traces(machine.id) == []


def test_a_machine_can_be_terminated_at_any_time(cloud: Cloud, fleet: object) -> None:
    machine = cloud.launch(cloud.vpc, cloud.vpc.private, False, address="10.0.2.21")
    until(lambda: machine.state == "running")
    cloud.ec2.terminate_instances(InstanceIds=[machine.id])
    machine.becomes("terminated")
    assert traces(machine.id) == []


def traces(instance: str) -> list[Path]:
    """What there is of a machine: its namespace, its control groups, its folder."""
    found = [Path("/run/netns") / instance] if (Path("/run/netns") / instance).exists() else []
    found += Path("/sys/fs/cgroup").glob(f"**/{instance}")
    return found + list((IMAGES / "disks").glob(f"*/{instance}"))
