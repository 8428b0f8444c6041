"""What a call names must exist: each kind of id has its own error code.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from moto.ec2.models import EC2Backend

from standin.behaviours import Stage
from standin.calls import Call
from standin.ec2.registry import EC2
from standin.errors import AwsError
from standin.moto_backend import ec2
from standin.world import World


@dataclass(frozen=True)
class Kind:
    """A kind of resource, by the prefix of its ids."""

    code: str
    message: str
    find: Callable[[EC2Backend, str], Any]


def _instance(backend: EC2Backend, instance_id: str) -> Any:
    instances = (each for reservation in backend.reservations.values() for each in reservation.instances)
    return next((each for each in instances if each.id == instance_id), None)


def _rule(backend: EC2Backend, rule_id: str) -> Any:
    groups = (group for groups in backend.groups.values() for group in groups.values())
    return next((rule for group in groups if (rule := group.get_rule(rule_id))), None)


def _table_association(backend: EC2Backend, association_id: str) -> Any:
    tables = backend.route_tables.values()
    return next((table for table in tables if association_id in table.all_associations_ids), None)


KINDS = {
    "vpc": Kind("InvalidVpcID.NotFound", "The vpc ID '{}' does not exist", lambda ec2, id: ec2.vpcs.get(id)),
    "subnet": Kind(
        "InvalidSubnetID.NotFound",
        "The subnet ID '{}' does not exist",
        lambda ec2, id: next((zone[id] for zone in ec2.subnets.values() if id in zone), None),
    ),
    "igw": Kind(
        "InvalidInternetGatewayID.NotFound",
        "The internetGateway ID '{}' does not exist",
        lambda ec2, id: ec2.internet_gateways.get(id),
    ),
    "rtb": Kind(
        "InvalidRouteTableID.NotFound",
        "The routeTable ID '{}' does not exist",
        lambda ec2, id: ec2.route_tables.get(id),
    ),
    "rtbassoc": Kind("InvalidAssociationID.NotFound", "The association ID '{}' does not exist", _table_association),
    "sg": Kind(
        "InvalidGroup.NotFound",
        "The security group '{}' does not exist",
        lambda ec2, id: next((groups[id] for groups in ec2.groups.values() if id in groups), None),
    ),
    "sgr": Kind("InvalidSecurityGroupRuleId.NotFound", "The security group rule ID '{}' does not exist", _rule),
    "eni": Kind(
        "InvalidNetworkInterfaceID.NotFound",
        "The networkInterface ID '{}' does not exist",
        lambda ec2, id: ec2.enis.get(id),
    ),
    "eni-attach": Kind(
        "InvalidAttachmentID.NotFound",
        "The attachment ID '{}' does not exist",
        lambda ec2, id: next((eni for eni in ec2.enis.values() if eni.attachment_id == id), None),
    ),
    "eipalloc": Kind(
        "InvalidAllocationID.NotFound",
        "The allocation ID '{}' does not exist",
        lambda ec2, id: next((each for each in ec2.addresses if each.allocation_id == id), None),
    ),
    "eipassoc": Kind(
        "InvalidAssociationID.NotFound",
        "The association ID '{}' does not exist",
        lambda ec2, id: next((each for each in ec2.addresses if each.association_id == id), None),
    ),
    "i": Kind("InvalidInstanceID.NotFound", "The instance ID '{}' does not exist", _instance),
    "ami": Kind("InvalidAMIID.NotFound", "The image id '[{}]' does not exist", lambda ec2, id: ec2.amis.get(id)),
    "vol": Kind("InvalidVolume.NotFound", "The volume '{}' does not exist.", lambda ec2, id: ec2.volumes.get(id)),
    "snap": Kind(
        "InvalidSnapshot.NotFound", "The snapshot '{}' does not exist.", lambda ec2, id: ec2.snapshots.get(id)
    ),
    "acl": Kind(
        "InvalidNetworkAclID.NotFound",
        "The networkAcl ID '{}' does not exist",
        lambda ec2, id: ec2.network_acls.get(id),
    ),
}

#: The kinds of parameters whose name says it.
_KIND_OF = {
    "AllocationId": "eipalloc",
    "AttachmentId": "eni-attach",
    "GroupId": "sg",
    "ImageId": "ami",
    "InstanceId": "i",
    "InternetGatewayId": "igw",
    "NetworkInterfaceId": "eni",
    "RouteTableId": "rtb",
    "SubnetId": "subnet",
    "VolumeId": "vol",
    "VpcId": "vpc",
}
_MALFORMED = {"i": "InvalidInstanceID.Malformed", "ami": "InvalidAMIID.Malformed"}

_ID = re.compile(rf"({'|'.join(sorted(KINDS, key=len, reverse=True))})-[0-9a-f]+")


def find(backend: EC2Backend, resource_id: str) -> Any:
    """A resource by its id; None when there is none, or none of this kind is known."""
    matched = _ID.fullmatch(resource_id)
    return None if matched is None else KINDS[matched[1]].find(backend, resource_id)


def not_found(parameter: str, resource_id: str) -> AwsError:
    """The refusal of an unknown id."""
    matched = _ID.fullmatch(resource_id)
    assert matched is not None
    if parameter == "GatewayId":
        return AwsError("InvalidGatewayID.NotFound", f"The gateway ID '{resource_id}' does not exist")
    kind = KINDS[matched[1]]
    return AwsError(kind.code, kind.message.format(resource_id))


def ids_named(params: Any, parameter: str = "") -> Iterator[tuple[str, str]]:
    """The ids among the parameters, with the names of their parameters. Ids inside tags and descriptions are text."""
    if isinstance(params, dict):
        for name, value in params.items():
            if name not in ("TagSpecifications", "Tags", "Description"):
                yield from ids_named(value, name)
    elif isinstance(params, list):
        for value in params:
            yield from ids_named(value, parameter)
    elif isinstance(params, str) and _ID.fullmatch(params):
        yield parameter, params


@EC2.before("*", stage=Stage.EXISTENCE)
def refuse_unknown_ids(world: World, call: Call) -> None:
    """Every id in a call names something of its kind. Lists of ids in describes and `InstanceIds` are looked up where
    they are used.
    """
    association = "eipassoc" if call.action.endswith("Address") else "rtbassoc"
    for parameter, prefix in {**_KIND_OF, "AssociationId": association}.items():
        value = call.params.get(parameter)
        matched = _ID.fullmatch(value) if value is not None else None
        if value is not None and (matched is None or matched[1] != prefix):
            if prefix in _MALFORMED:
                raise AwsError(_MALFORMED[prefix], f'Invalid id: "{value}" (expecting "{prefix}-...")')
            raise AwsError(KINDS[prefix].code, KINDS[prefix].message.format(value))
    if not call.is_change and not call.action.endswith(("Attribute", "Output")):
        return
    for parameter, each in ids_named({name: value for name, value in call.params.items() if name != "InstanceIds"}):
        if find(ec2(call), each) is None:
            raise not_found(parameter, each)
