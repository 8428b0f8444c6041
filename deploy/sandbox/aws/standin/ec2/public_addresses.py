"""Public addresses: automatic ones that come and go with the run of an instance, and elastic ones that stay.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-instance-addressing.html
"""

from __future__ import annotations

import ipaddress
import itertools
from typing import Any

from moto.ec2.models import elastic_ip_addresses, elastic_network_interfaces
from moto.ec2.models.elastic_network_interfaces import NetworkInterface

from standin.behaviours import Stage
from standin.calls import Call
from standin.ec2.existence import find
from standin.ec2.registry import EC2
from standin.errors import AwsError
from standin.moto_backend import ec2
from standin.world import World

#: In the network of RFC 2544, which no machine on the internet is in.
DEFAULT_RANGE = "198.19.0.0/16"
_pool = ipaddress.IPv4Network(DEFAULT_RANGE)
_positions = itertools.count()


def draw_from(pool: ipaddress.IPv4Network) -> None:
    """Takes new addresses from a range of the caller's. Stand-ins beside each other need one each."""
    global _pool
    _pool = pool


def new_address() -> str:
    """A public address that nothing has had lately."""
    return str(_pool[1 + next(_positions) % (_pool.num_addresses - 2)])


def elastic_of(interface: NetworkInterface) -> Any:
    """The elastic address on an interface."""
    return next((each for each in interface.ec2_backend.addresses if each.eni is interface), None)


def assign(interface: NetworkInterface) -> None:
    """Gives an interface its automatic address, if it has one and no elastic one."""
    if _is_automatic(interface) and elastic_of(interface) is None:
        interface.public_ip = new_address()


def release(interface: NetworkInterface) -> None:
    """Takes the automatic address away; an elastic one stays."""
    if elastic_of(interface) is None:
        interface.public_ip = None


def _is_automatic(interface: NetworkInterface) -> bool:
    return str(interface.public_ip_auto_assign).lower() == "true"


@EC2.before("AssociateAddress")
def check_association(world: World, call: Call) -> None:
    """The machine must run or be stopped, its network must have a gateway, and the address may have to be free."""
    address, interface = _address(call), _target(call)
    if interface is None:
        raise AwsError("MissingParameter", "Either instance ID or network interface ID must be specified")
    machine = interface.instance
    if machine is not None and machine.state not in ("running", "stopping", "stopped"):
        raise AwsError(
            "InvalidInstanceID",
            f"The {machine.state} instance '{machine.id}' is not in a valid state for this operation.",
        )
    gateways = ec2(call).internet_gateways.values()
    if not any(gateway.vpc is not None and gateway.vpc.id == interface.vpc_id for gateway in gateways):
        raise AwsError("Gateway.NotAttached", f"Network {interface.vpc_id} is not attached to any internet gateway")
    taken = [each for each in (address, elastic_of(interface)) if each is not None and each.eni is not None]
    if call.params.get("AllowReassociation") is False and any(
        each is not address or each.eni is not interface for each in taken
    ):
        raise AwsError("Resource.AlreadyAssociated", f"resource {address.allocation_id} is already associated")


@EC2.before("AssociateAddress", stage=Stage.PREPARE)
def leave_the_old_place(world: World, call: Call) -> None:
    """Reassociation is automatic in a VPC. moto would leave the address on both."""
    call.params["AllowReassociation"] = True
    address, interface = _address(call), _target(call)
    for each in (address, elastic_of(interface) if interface else None):
        if each is not None and each.eni is not None and each.eni is not interface:
            ec2(call).disassociate_address(association_id=each.association_id)
        elif each is not None and each is not address:
            each.eni = each.instance = each.association_id = None


@EC2.after("AssociateAddress")
def know_the_instance(world: World, call: Call, result: Any) -> None:
    """An address on an interface is shown with the instance that has the interface."""
    address = _address(call)
    if address.eni is not None:
        address.instance = address.eni.instance


@EC2.before("ReleaseAddress")
def check_release(world: World, call: Call) -> None:
    """An address that is in use stays."""
    address = _address(call)
    if address.association_id is not None:
        raise AwsError("InvalidIPAddress.InUse", f"Address {address.public_ip} is in use.")


def _address(call: Call) -> Any:
    allocation, public = call.params.get("AllocationId"), call.params.get("PublicIp")
    for each in ec2(call).addresses:
        if each.allocation_id == allocation or each.public_ip == public:
            return each
    if public is None:
        raise AwsError(
            "MissingParameter", "You must specify an allocation id when mapping an address to a VPC instance"
        )
    raise AwsError("InvalidAddress.NotFound", f"Address '{public}' not found.")


def _target(call: Call) -> NetworkInterface | None:
    interface: NetworkInterface | None = find(ec2(call), call.params.get("NetworkInterfaceId") or "")
    if interface is None and (machine := find(ec2(call), call.params.get("InstanceId") or "")):
        interface = machine.nics.get(0)
        if interface is None:
            raise AwsError(
                "InvalidInstanceID",
                f"The {machine.state} instance '{machine.id}' is not in a valid state for this operation.",
            )
    return interface


# moto draws addresses of the loopback network for elastic ones, and others twice.
setattr(elastic_ip_addresses, "random_ip", new_address)
setattr(elastic_network_interfaces, "random_public_ip", new_address)
