"""Attributes of an instance: some change while it is stopped only, and its groups are those of its interface."""

from __future__ import annotations

from typing import Any

from moto.ec2.models.instance_types import INSTANCE_TYPES

from standin.calls import Call
from standin.ec2.existence import find
from standin.ec2.registry import EC2
from standin.errors import AwsError
from standin.moto_backend import ec2
from standin.world import World

_WHILE_STOPPED = ("InstanceType", "UserData", "Kernel", "Ramdisk", "EbsOptimized")


@EC2.before("ModifyInstanceAttribute")
def check_state(world: World, call: Call) -> None:
    """The type of a running instance cannot be changed, for one."""
    instance = find(ec2(call), call.params["InstanceId"])
    if any(name in call.params for name in _WHILE_STOPPED) and instance.state != "stopped":
        raise AwsError("IncorrectInstanceState", f"The instance '{instance.id}' is not in the 'stopped' state.")


@EC2.after("ModifyInstanceAttribute")
def give_groups_to_the_interface(world: World, call: Call, result: Any) -> None:
    """moto would add the new groups to those that the interface has."""
    if call.params.get("Groups"):
        instance = find(ec2(call), call.params["InstanceId"])
        instance.nics[0]._group_set = list(instance.security_groups)


@EC2.after("ModifyNetworkInterfaceAttribute")
def give_groups_to_the_instance(world: World, call: Call, result: Any) -> None:
    """moto would go on showing the old groups beside the new ones."""
    interface = find(ec2(call), call.params["NetworkInterfaceId"])
    if call.params.get("Groups") and interface.instance is not None:
        groups = [find(ec2(call), each) for each in call.params["Groups"]]
        interface._group_set = groups
        if interface.device_index == 0:
            interface.instance.security_groups = list(groups)


@EC2.before("GetConsoleOutput")
def check_latest(world: World, call: Call) -> None:
    """The latest output is there for Nitro types only; others show theirs some minutes later."""
    instance = find(ec2(call), call.params["InstanceId"])
    hypervisor = INSTANCE_TYPES.get(instance.instance_type, {}).get("Hypervisor")
    if call.params.get("Latest") and hypervisor != "nitro":
        raise AwsError(
            "UnsupportedOperation", "This instance type does not support retrieving the latest console logs."
        )
