"""What cannot be deleted or detached because something else depends on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from moto.ec2.models.elastic_network_interfaces import NetworkInterface

from standin.calls import Call
from standin.ec2.existence import find
from standin.ec2.registry import EC2
from standin.errors import AwsError
from standin.moto_backend import ec2
from standin.world import World

_VIOLATION = "DependencyViolation"


@EC2.before("DeleteSecurityGroup")
def group(world: World, call: Call) -> None:
    """A group that an interface has, or that a rule of another group names."""
    target = _group_named(call)
    if target is None:
        return
    if target.name == "default":
        raise AwsError(
            "CannotDelete", f'the specified group: "{target.id}" name: "default" cannot be deleted by a user'
        )
    used = any(target in interface.group_set for interface in ec2(call).enis.values())
    named = any(
        pair.get("GroupId") == target.id
        for groups in ec2(call).groups.values()
        for other in groups.values()
        if other is not target
        for permission in (*other.ip_permissions, *other.ip_permissions_egress)
        for pair in permission.user_id_group_pairs
    )
    if used or named:
        raise AwsError(_VIOLATION, f"resource {target.id} has a dependent object")


@EC2.before("DeleteSubnet")
def subnet(world: World, call: Call) -> None:
    """A subnet with interfaces, of instances or others."""
    subnet_id = call.params["SubnetId"]
    if any(interface.subnet.id == subnet_id for interface in ec2(call).enis.values()):
        raise AwsError(_VIOLATION, f"The subnet '{subnet_id}' has dependencies and cannot be deleted.")


@EC2.after("DeleteSubnet")
def forget_associations(world: World, call: Call, result: Any) -> None:
    """Its associations go with a subnet; moto leaves them in the tables."""
    subnet_id = call.params["SubnetId"]
    for table in ec2(call).route_tables.values():
        for association, target in list(table._associations.items()):
            if target == subnet_id:
                del table._associations[association]
    for acl in ec2(call).network_acls.values():
        for association_id, association in list(acl._associations.items()):
            if association.subnet_id == subnet_id:
                del acl._associations[association_id]


@EC2.before("DeleteVpc")
def vpc(world: World, call: Call) -> None:
    """Everything in it but what came with it: the default group, the main route table, the default ACL."""
    vpc_id, backend = call.params["VpcId"], ec2(call)
    inside = (
        any(each.vpc_id == vpc_id for zone in backend.subnets.values() for each in zone.values()),
        any(each.name != "default" for each in backend.groups.get(vpc_id, {}).values()),
        any(each.vpc_id == vpc_id and not each.main_association_id for each in backend.route_tables.values()),
        any(each.vpc_id == vpc_id and not each.default for each in backend.network_acls.values()),
        any(each.vpc is not None and each.vpc.id == vpc_id for each in backend.internet_gateways.values()),
        any(each.vpc_id == vpc_id for each in backend.enis.values()),
        any(each.vpc_id == vpc_id and each.state != "deleted" for each in backend.vpc_end_points.values()),
    )
    if any(inside):
        raise AwsError(_VIOLATION, f"The vpc '{vpc_id}' has dependencies and cannot be deleted.")


@EC2.after("DeleteVpc")
def forget_the_defaults(world: World, call: Call, result: Any) -> None:
    """The default ACL goes with the VPC; moto leaves it."""
    for acl in list(ec2(call).network_acls.values()):
        if acl.vpc_id == call.params["VpcId"]:
            del ec2(call).network_acls[acl.id]


@EC2.before("DetachInternetGateway")
def gateway(world: World, call: Call) -> None:
    """A gateway is not detached while public addresses are mapped in its network."""
    vpc_id, gateway_id = call.params["VpcId"], call.params["InternetGatewayId"]
    attached = find(ec2(call), gateway_id).vpc
    if attached is None or attached.id != vpc_id:
        raise AwsError("Gateway.NotAttached", f"resource {gateway_id} is not attached to network {vpc_id}")
    if any(_mapped(ec2(call).enis.values(), vpc_id)):
        raise AwsError(
            _VIOLATION,
            f"Network {vpc_id} has some mapped public address(es). Please unmap those public address(es) before "
            "detaching the gateway.",
        )


@EC2.before("DeleteInternetGateway")
def attached_gateway(world: World, call: Call) -> None:
    """An attached gateway is not deleted."""
    gateway_id = call.params["InternetGatewayId"]
    if find(ec2(call), gateway_id).vpc is not None:
        raise AwsError(_VIOLATION, f"The internetGateway '{gateway_id}' has dependencies and cannot be deleted.")


@EC2.before("AttachInternetGateway")
def gateway_in_its_place(world: World, call: Call) -> None:
    """A network has one gateway, and a gateway one network."""
    vpc_id, target = call.params["VpcId"], find(ec2(call), call.params["InternetGatewayId"])
    if target.vpc is not None:
        raise AwsError(
            "Resource.AlreadyAssociated", f"resource {target.id} is already attached to network {target.vpc.id}"
        )
    if any(each.vpc is not None and each.vpc.id == vpc_id for each in ec2(call).internet_gateways.values()):
        raise AwsError("InvalidParameterValue", f"Network {vpc_id} already has an internet gateway attached")


def _mapped(interfaces: Any, vpc_id: str) -> Iterator[NetworkInterface]:
    return (each for each in interfaces if each.vpc_id == vpc_id and each.public_ip)


def _group_named(call: Call) -> Any:
    group_id, name = call.params.get("GroupId"), call.params.get("GroupName")
    if group_id is None and name is None:
        raise AwsError("MissingParameter", "The request must contain the parameter GroupName or GroupId")
    return find(ec2(call), group_id or "")
