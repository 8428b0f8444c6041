"""Client tokens: the same launch twice is one launch."""

from __future__ import annotations

from typing import Any

from tests.conftest import REGION, Network, launch_request, refused


def test_the_same_token_and_parameters_give_the_same_instances(ec2: Any, network: Network) -> None:
    request = launch_request(network, ClientToken="one", MinCount=2, MaxCount=2)
    first, second = ec2.run_instances(**request), ec2.run_instances(**request)
    ids = [each["InstanceId"] for each in first["Instances"]]
    assert ids == [each["InstanceId"] for each in second["Instances"]]
    assert first["ReservationId"] == second["ReservationId"]
    assert sum(len(each["Instances"]) for each in ec2.describe_instances()["Reservations"]) == 2


def test_other_parameters_are_a_mismatch(ec2: Any, network: Network) -> None:
    ec2.run_instances(**launch_request(network, ClientToken="one"))
    changed = launch_request(network, ClientToken="one", InstanceType="t2.large")
    assert refused(ec2.run_instances, **changed) == "IdempotentParameterMismatch"


def test_another_zone_does_not_know_the_token(ec2: Any, network: Network) -> None:
    other = ec2.create_subnet(VpcId=network.vpc, CidrBlock="10.0.2.0/24", AvailabilityZone=f"{REGION}b")
    first = ec2.run_instances(**launch_request(network, ClientToken="one"))
    second = ec2.run_instances(**launch_request(network, ClientToken="one", SubnetId=other["Subnet"]["SubnetId"]))
    assert first["Instances"][0]["InstanceId"] != second["Instances"][0]["InstanceId"]


def test_a_refused_call_does_not_use_up_its_token(ec2: Any, network: Network) -> None:
    assert refused(ec2.run_instances, **launch_request(network, ClientToken="one", InstanceType="t2.huge"))
    assert ec2.run_instances(**launch_request(network, ClientToken="one"))["Instances"]


def test_a_token_is_at_most_64_characters(ec2: Any, network: Network) -> None:
    assert ec2.run_instances(**launch_request(network, ClientToken="x" * 64))
    assert refused(ec2.run_instances, **launch_request(network, ClientToken="x" * 65)) == "InvalidParameterValue"
