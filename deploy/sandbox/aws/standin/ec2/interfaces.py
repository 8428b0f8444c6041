"""Network interfaces: made with a launch, attached, detached, deleted."""

from __future__ import annotations

from typing import Any

from moto.ec2.models.instances import Reservation

from standin.calls import Call
from standin.ec2.existence import find
from standin.ec2.launch_checks import check_groups_of_subnet
from standin.ec2.public_addresses import release
from standin.ec2.registry import EC2
from standin.errors import AwsError
from standin.moto_backend import ec2
from standin.world import World


@EC2.after("RunInstances")
def finish_interfaces(world: World, call: Call, result: Reservation) -> None:
    """Interfaces made with an instance end with it unless told otherwise, and carry the tags meant for them."""
    specified: dict[int, dict[str, Any]] = {
        int(each.get("DeviceIndex", 0)): each for each in call.params.get("NetworkInterfaces", [])
    }
    tags = {
        tag["Key"]: tag.get("Value", "")
        for specification in call.params.get("TagSpecifications", [])
        if specification["ResourceType"] == "network-interface"
        for tag in specification.get("Tags", [])
    }
    for instance in result.instances:
        for index, interface in instance.nics.items():
            wish = specified.get(index, {})
            if "NetworkInterfaceId" in wish:
                interface.delete_on_termination = wish.get("DeleteOnTermination", False)
                continue
            interface.delete_on_termination = wish.get("DeleteOnTermination", True)
            interface.description = wish.get("Description", "")
            interface.add_tags(tags)
            # The address comes when the instance runs.
            release(interface)


@EC2.before("CreateNetworkInterface")
def check_groups(world: World, call: Call) -> None:
    """The groups are of the subnet's VPC."""
    check_groups_of_subnet(call, call.params.get("SubnetId"), call.params.get("Groups", []))


@EC2.before("AttachNetworkInterface")
def check_attachment(world: World, call: Call) -> None:
    """Only a free interface, to a free index of an instance in the same zone."""
    interface = find(ec2(call), call.params["NetworkInterfaceId"])
    instance = find(ec2(call), call.params["InstanceId"])
    if interface.instance is not None:
        raise AwsError("InvalidParameterValue", f"Interface: [{interface.id}] in use")
    if instance.state not in ("running", "stopped"):
        raise AwsError(
            "IncorrectState", f"Instance '{instance.id}' is not 'running' or 'stopped'; it is '{instance.state}'"
        )
    index = call.params["DeviceIndex"]
    if index in instance.nics:
        raise AwsError(
            "InvalidParameterValue",
            f"Instance '{instance.id}' already has an interface attached at device index '{index}'",
        )
    if interface.subnet.availability_zone != instance.placement.zone:
        raise AwsError("InvalidParameterValue", "The interface and the instance are not in the same zone")


@EC2.before("DetachNetworkInterface")
def check_detachment(world: World, call: Call) -> None:
    """The primary interface stays."""
    if find(ec2(call), call.params["AttachmentId"]).device_index == 0:
        raise AwsError("OperationNotPermitted", "The network interface at device index 0 cannot be detached.")


@EC2.before("DeleteNetworkInterface")
def check_deletion(world: World, call: Call) -> None:
    """Only a free one."""
    interface = find(ec2(call), call.params["NetworkInterfaceId"])
    if interface.instance is not None:
        raise AwsError("InvalidParameterValue", f"Network interface '{interface.id}' is currently in use.")
