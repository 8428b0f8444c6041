"""What AWS checks before it launches anything.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html
"""

from __future__ import annotations

import base64
from typing import Any

from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS, INSTANCE_TYPES
from moto.iam.models import iam_backends

from standin.behaviours import Stage
from standin.calls import Call
from standin.ec2.existence import find
from standin.ec2.registry import EC2
from standin.ec2.zones import zone_of
from standin.errors import AwsError
from standin.moto_backend import ec2
from standin.world import World

_MOST_USER_DATA = 16384


@EC2.before("RunInstances", stage=Stage.EXISTENCE)
def check_presence(world: World, call: Call) -> None:
    """An image is a must, unless a launch template has one."""
    if "LaunchTemplate" not in call.params and not call.params.get("ImageId"):
        raise AwsError("MissingParameter", "The request must contain the parameter ImageId")


@EC2.before("RunInstances")
def check_counts(world: World, call: Call) -> None:
    """At least one, and not fewer at most than at least."""
    least, most = call.params["MinCount"], call.params["MaxCount"]
    if least < 1:
        raise AwsError(
            "InvalidParameterValue",
            f"Value ( {least} ) for parameter minCount is invalid. Expecting a positive number.",
        )
    if least > most:
        raise AwsError("InvalidParameterValue", f"minCount ({least}) must not be greater than maxCount ({most})")


@EC2.before("RunInstances")
def check_type(world: World, call: Call) -> None:
    """The type exists, is offered in the zone, and runs the image."""
    name = call.params.get("InstanceType")
    if name is None:
        return
    if name not in INSTANCE_TYPES:
        raise AwsError("InvalidParameterValue", f"Invalid value '{name}' for InstanceType.")
    zone, offers = zone_of(call), INSTANCE_TYPE_OFFERINGS["availability-zone"].get(call.region, [])
    zones = sorted(offer["Location"] for offer in offers if offer["InstanceType"] == name)
    if zone and zone not in zones:
        raise AwsError(
            "Unsupported",
            f"Your requested instance type ({name}) is not supported in your requested Availability Zone ({zone}). "
            f"Please retry your request by not specifying an Availability Zone or choosing {', '.join(zones)}.",
        )
    image = find(ec2(call), call.params.get("ImageId", ""))
    architectures = INSTANCE_TYPES[name]["ProcessorInfo"]["SupportedArchitectures"]
    if image is not None and image.architecture not in architectures:
        raise AwsError(
            "InvalidParameterValue",
            f"The architecture '{','.join(architectures)}' of the specified instance type does not match the "
            f"architecture '{image.architecture}' of the specified AMI.",
        )


@EC2.before("RunInstances")
def check_key_and_profile(world: World, call: Call) -> None:
    """The key pair and the instance profile exist."""
    key = call.params.get("KeyName")
    if key is not None and key not in ec2(call).key_pairs:
        raise AwsError("InvalidKeyPair.NotFound", f"The key pair '{key}' does not exist")
    profile = call.params.get("IamInstanceProfile", {})
    known = iam_backends[call.account]["aws"].instance_profiles.values()
    for attribute, parameter in (("Name", "name"), ("Arn", "arn")):
        wanted = profile.get(attribute)
        if wanted is not None and wanted not in {getattr(each, parameter) for each in known}:
            raise AwsError(
                "InvalidParameterValue",
                f"Value ({wanted}) for parameter iamInstanceProfile.{parameter} is invalid. "
                f"Invalid IAM Instance Profile {'name' if attribute == 'Name' else 'ARN'}",
            )


@EC2.before("RunInstances")
def check_user_data(world: World, call: Call) -> None:
    """At most 16 KiB before encoding."""
    data = call.params.get("UserData")
    if data is None:
        return
    decoded = data if isinstance(data, bytes) else base64.b64decode(data)
    if len(decoded) > _MOST_USER_DATA:
        raise AwsError("InvalidParameterValue", f"User data is limited to {_MOST_USER_DATA} bytes")


@EC2.before("RunInstances")
def check_network(world: World, call: Call) -> None:
    """Interfaces and instance-level network parameters exclude each other; groups are of the subnet's VPC."""
    interfaces: list[dict[str, Any]] = call.params.get("NetworkInterfaces", [])
    if interfaces:
        for name, shown in (
            ("SubnetId", "subnet ID"),
            ("SecurityGroupIds", "security groups"),
            ("PrivateIpAddress", "private IP address"),
        ):
            if call.params.get(name):
                raise AwsError(
                    "InvalidParameterCombination",
                    f"Network interfaces and an instance-level {shown} may not be specified on the same request",
                )
    _check_interfaces(call, interfaces)
    subnets = [(call.params.get("SubnetId"), call.params.get("SecurityGroupIds", []))]
    subnets += [(each.get("SubnetId"), each.get("Groups", [])) for each in interfaces]
    for subnet_id, groups in subnets:
        check_groups_of_subnet(call, subnet_id, groups)


def check_groups_of_subnet(call: Call, subnet_id: str | None, groups: list[str]) -> None:
    """Refuses groups that are not of the VPC of the subnet."""
    subnet = find(ec2(call), subnet_id or "")
    for group_id in groups:
        group = find(ec2(call), group_id)
        if subnet is not None and group is not None and group.vpc_id != subnet.vpc_id:
            raise AwsError(
                "InvalidParameter", f"Security group {group_id} and subnet {subnet_id} belong to different networks."
            )


def _check_interfaces(call: Call, interfaces: list[dict[str, Any]]) -> None:
    for each in interfaces:
        existing = each.get("NetworkInterfaceId")
        if existing is None:
            continue
        if each.get("AssociatePublicIpAddress") is not None:
            raise AwsError(
                "InvalidParameterCombination",
                "The associatePublicIPAddress parameter cannot be specified with an existing network interface",
            )
        if call.params["MaxCount"] > 1:
            raise AwsError("InvalidParameterCombination", "Cannot launch several instances with one network interface")
        if find(ec2(call), existing).instance is not None:
            raise AwsError("InvalidNetworkInterface.InUse", f"Interface: [{existing}] in use")
    if len(interfaces) > 1 and any(each.get("AssociatePublicIpAddress") for each in interfaces):
        raise AwsError(
            "InvalidParameterCombination",
            "The associatePublicIPAddress parameter cannot be specified when launching with multiple network "
            "interfaces.",
        )
