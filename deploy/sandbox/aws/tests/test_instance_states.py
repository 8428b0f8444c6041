"""Instances take time to change state, and lose what AWS takes from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import StandIn, instance, refused, state, until

Launch = Callable[..., list[str]]


def test_a_launched_instance_is_pending_for_a_while(standin: StandIn, ec2: Any, launch: Launch) -> None:
    standin.settings(pending_seconds=0.3)
    [machine] = launch()
    assert state(ec2, machine) == "pending"
    until(lambda: state(ec2, machine) == "running")


def test_stop_and_start_pass_through_the_states_between(standin: StandIn, ec2: Any, launch: Launch) -> None:
    [machine] = launch()
    standin.settings(stopping_seconds=0.3, pending_seconds=0.3)
    [change] = ec2.stop_instances(InstanceIds=[machine])["StoppingInstances"]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("running", "stopping")
    assert state(ec2, machine) == "stopping"
    assert refused(ec2.start_instances, InstanceIds=[machine]) == "IncorrectInstanceState"
    until(lambda: state(ec2, machine) == "stopped")
    reason = instance(ec2, machine)
    assert reason["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    assert reason["StateTransitionReason"].startswith("User initiated (")
    [change] = ec2.start_instances(InstanceIds=[machine])["StartingInstances"]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("stopped", "pending")
    assert state(ec2, machine) == "pending"
    until(lambda: state(ec2, machine) == "running")
    assert instance(ec2, machine)["StateTransitionReason"] == ""


def test_a_terminated_instance_keeps_nothing_and_is_forgotten(standin: StandIn, ec2: Any, launch: Launch) -> None:
    [machine] = launch(TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}])
    standin.settings(shutting_down_seconds=0.2, forget_terminated_seconds=0.3)
    ec2.terminate_instances(InstanceIds=[machine])
    shutting_down = instance(ec2, machine)
    assert shutting_down["State"]["Name"] == "shutting-down"
    assert shutting_down["Tags"]
    assert shutting_down["PrivateIpAddress"]
    until(lambda: state(ec2, machine) == "terminated")
    gone = instance(ec2, machine)
    for name in ("Tags", "PrivateIpAddress", "PublicIpAddress", "SubnetId", "VpcId"):
        assert name not in gone
    assert gone["NetworkInterfaces"] == gone["BlockDeviceMappings"] == gone["SecurityGroups"] == []
    until(lambda: not ec2.describe_instances()["Reservations"])
    assert refused(ec2.describe_instances, InstanceIds=[machine]) == "InvalidInstanceID.NotFound"


@pytest.mark.parametrize("action", ["start_instances", "stop_instances", "reboot_instances"])
def test_a_terminated_instance_stays_terminated(ec2: Any, launch: Launch, action: str) -> None:
    [machine] = launch()
    ec2.terminate_instances(InstanceIds=[machine])
    assert refused(getattr(ec2, action), InstanceIds=[machine]) == "IncorrectInstanceState"
    assert state(ec2, machine) == "terminated"


def test_terminating_twice_is_no_error(ec2: Any, launch: Launch) -> None:
    [machine] = launch()
    ec2.terminate_instances(InstanceIds=[machine])
    [change] = ec2.terminate_instances(InstanceIds=[machine])["TerminatingInstances"]
    assert change["CurrentState"]["Name"] == "terminated"


def test_a_pending_instance_cannot_be_stopped_but_terminated(standin: StandIn, ec2: Any, launch: Launch) -> None:
    standin.settings(pending_seconds=60)
    [machine] = launch()
    assert refused(ec2.stop_instances, InstanceIds=[machine]) == "IncorrectInstanceState"
    ec2.terminate_instances(InstanceIds=[machine])
    assert state(ec2, machine) == "terminated"


def test_an_instance_that_starts_again_can_be_stopped(standin: StandIn, ec2: Any, launch: Launch) -> None:
    [machine] = launch()
    assert state(ec2, machine) == "running"
    ec2.stop_instances(InstanceIds=[machine])
    standin.settings(pending_seconds=60)
    ec2.start_instances(InstanceIds=[machine])
    assert state(ec2, machine) == "pending"
    ec2.stop_instances(InstanceIds=[machine])
    assert state(ec2, machine) == "stopped"


def test_one_unknown_id_refuses_the_whole_call(ec2: Any, launch: Launch) -> None:
    [machine] = launch()
    unknown = "i-00000000000000000"
    assert refused(ec2.terminate_instances, InstanceIds=[machine, unknown]) == "InvalidInstanceID.NotFound"
    assert state(ec2, machine) == "running"
    assert refused(ec2.stop_instances, InstanceIds=["machine"]) == "InvalidInstanceID.Malformed"


def test_a_launch_can_stay_pending_for_ever(standin: StandIn, ec2: Any, launch: Launch) -> None:
    standin.settings(stuck_pending=1)
    [stuck], [machine] = launch(), launch()
    assert state(ec2, machine) == "running"
    assert state(ec2, stuck) == "pending"
