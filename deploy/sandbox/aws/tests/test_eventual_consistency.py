"""Describes that answer with the state of some seconds ago."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.conftest import Network, StandIn, refused, state, until

TAG = [{"Key": "a", "Value": "b"}]


def test_new_resources_are_seen_later(standin: StandIn, ec2: Any) -> None:
    standin.settings(stale_seconds=0.5)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    assert refused(ec2.describe_vpcs, VpcIds=[vpc]) == "InvalidVpcID.NotFound"
    assert vpc not in {each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"]}
    until(lambda: vpc in {each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"]})


def test_deleted_resources_are_seen_for_a_while(standin: StandIn, ec2: Any, network: Network) -> None:
    standin.settings(stale_seconds=0.5)
    ec2.delete_security_group(GroupId=network.group)
    assert ec2.describe_security_groups(GroupIds=[network.group])["SecurityGroups"]
    until(
        lambda: (
            not ec2.describe_security_groups(Filters=[{"Name": "group-id", "Values": [network.group]}])[
                "SecurityGroups"
            ]
        )
    )


def test_tags_and_states_are_seen_later(standin: StandIn, ec2: Any, launch: Callable[..., list[str]]) -> None:
    [machine] = launch()
    assert state(ec2, machine) == "running"
    standin.settings(stale_seconds=0.5)
    ec2.create_tags(Resources=[machine], Tags=TAG)
    ec2.stop_instances(InstanceIds=[machine])
    tags = [{"Name": "resource-id", "Values": [machine]}]
    assert ec2.describe_tags(Filters=tags)["Tags"] == []
    assert state(ec2, machine) == "running"
    until(lambda: state(ec2, machine) == "stopped")
    assert ec2.describe_tags(Filters=tags)["Tags"]


def test_transitions_by_themselves_are_seen_later_too(
    standin: StandIn, ec2: Any, launch: Callable[..., list[str]]
) -> None:
    standin.settings(stale_seconds=0.6, pending_seconds=0.1)
    [machine] = launch()
    until(lambda: ec2.describe_instances()["Reservations"])
    assert state(ec2, machine) == "pending"
    until(lambda: state(ec2, machine) == "running")


def test_changes_find_what_was_made_just_now_unless_told_otherwise(standin: StandIn, ec2: Any) -> None:
    standin.settings(stale_seconds=0.5)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")
    standin.settings(stale_ids=True)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    assert refused(ec2.create_subnet, VpcId=vpc, CidrBlock="10.0.1.0/24") == "InvalidVpcID.NotFound"
    assert refused(ec2.create_tags, Resources=[vpc], Tags=TAG) == "InvalidVpcID.NotFound"
    until(lambda: [each for each in ec2.describe_vpcs()["Vpcs"] if each["VpcId"] == vpc])
    ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")
