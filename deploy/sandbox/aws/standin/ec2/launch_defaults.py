"""What a launch gets without asking: the default subnet of the zone, and the default group of the network."""

from __future__ import annotations

from typing import Any

from moto.ec2.models.instances import Reservation

from standin.behaviours import Stage
from standin.calls import Call
from standin.ec2.existence import find
from standin.ec2.registry import EC2
from standin.ec2.zones import zone_of
from standin.errors import AwsError
from standin.moto_backend import ec2
from standin.world import World


@EC2.before("RunInstances", stage=Stage.EXISTENCE)
def choose_subnet(world: World, call: Call) -> None:
    """moto would draw an address of a network of its own."""
    if call.params.get("SubnetId") or call.params.get("NetworkInterfaces"):
        return
    zone = zone_of(call)
    subnet = next((each for each in ec2(call).subnets.get(zone, {}).values() if each.default_for_az), None)
    if subnet is None:
        raise AwsError("MissingInput", f"No default subnet for availability zone: '{zone}'.")
    call.params["SubnetId"] = subnet.id


@EC2.before("RunInstances", stage=Stage.PREPARE)
def choose_groups(world: World, call: Call) -> None:
    """The group `default` of the network, for each interface that names none."""
    interfaces: list[dict[str, Any]] = call.params.get("NetworkInterfaces", [])
    for each in interfaces:
        if each.get("SubnetId") and not each.get("Groups"):
            each["Groups"] = [_default_group(call, each["SubnetId"])]
    if not interfaces and not call.params.get("SecurityGroupIds") and not call.params.get("SecurityGroups"):
        call.params["SecurityGroupIds"] = [_default_group(call, call.params["SubnetId"])]


@EC2.after("RunInstances")
def complete(world: World, call: Call, result: Reservation) -> None:
    """An instance has the groups of its primary interface, and each of a launch its profile; moto sees to the first."""
    profile = call.params.get("IamInstanceProfile", {})
    for number, instance in enumerate(result.instances):
        instance.security_groups = list(instance.nics[0].group_set)
        if profile and number:
            ec2(call).associate_iam_instance_profile(
                instance_id=instance.id,
                iam_instance_profile_name=profile.get("Name"),
                iam_instance_profile_arn=profile.get("Arn"),
            )


def _default_group(call: Call, subnet_id: str) -> str:
    groups = ec2(call).groups[find(ec2(call), subnet_id).vpc_id].values()
    return str(next(group.id for group in groups if group.name == "default"))
