"""Private addresses: inside the subnet, not reserved, not in use, and free again when their interface is gone."""

from __future__ import annotations

import ipaddress
from typing import Any

from moto.ec2.models.subnets import Subnet

from standin.behaviours import Stage
from standin.calls import Call
from standin.ec2.existence import find
from standin.ec2.registry import EC2
from standin.errors import AwsError
from standin.moto_backend import ec2
from standin.world import World

#: AWS keeps the first four addresses of a subnet, and the last.
_RESERVED = 4


@EC2.before("RunInstances", "CreateNetworkInterface")
def check(world: World, call: Call) -> None:
    """The addresses that are asked for, and that there are enough for the rest."""
    count = call.params.get("MaxCount", 1)
    wishes: list[dict[str, Any]] = call.params.get("NetworkInterfaces") or [call.params]
    for wish in wishes:
        subnet = find(ec2(call), wish.get("SubnetId") or "")
        if subnet is None:
            continue
        address = wish.get("PrivateIpAddress")
        if address is not None:
            if count > 1:
                raise AwsError(
                    "InvalidParameterCombination",
                    "A private IP address cannot be specified when launching more than one instance",
                )
            _check_address(subnet, address)
        elif len(free_addresses(subnet, call.params.get("MinCount", 1))) < call.params.get("MinCount", 1):
            raise AwsError(
                "InsufficientFreeAddressesInSubnet",
                "The specified subnet does not have enough free addresses to satisfy the request.",
            )


@EC2.before("CreateNetworkInterface", stage=Stage.PREPARE)
def choose(world: World, call: Call) -> None:
    """moto draws an address, which may be in use."""
    if not call.params.get("PrivateIpAddress") and not call.params.get("PrivateIpAddresses"):
        call.params["PrivateIpAddress"] = free_addresses(find(ec2(call), call.params["SubnetId"]), 1)[0]


def _check_address(subnet: Subnet, address: str) -> None:
    try:
        parsed = ipaddress.IPv4Address(address)
    except ValueError:
        raise AwsError("InvalidParameterValue", f"invalid value for parameter address: [{address}]") from None
    if parsed not in subnet.cidr:
        raise AwsError("InvalidParameterValue", f"Address {address} does not fall within the subnet's address range")
    position = int(parsed) - int(subnet.cidr.network_address)
    if position < _RESERVED or parsed == subnet.cidr.broadcast_address:
        raise AwsError("InvalidParameterValue", f"Address {address} is in subnet's reserved address range")
    if address in _used(subnet):
        raise AwsError("InvalidIPAddress.InUse", f"Address {address} is in use.")


def _used(subnet: Subnet) -> set[str]:
    return {
        address["PrivateIpAddress"]
        for interface in subnet.ec2_backend.enis.values()
        if interface.subnet.id == subnet.id
        for address in interface.private_ip_addresses
    }


def free_addresses(subnet: Subnet, count: int) -> list[str]:
    """The lowest free addresses, `count` at most."""
    used, free = _used(subnet), []
    first, last = int(subnet.cidr.network_address) + _RESERVED, int(subnet.cidr.broadcast_address)
    for number in range(first, last):
        address = str(ipaddress.IPv4Address(number))
        if address not in used:
            free.append(address)
            if len(free) == count:
                break
    return free


def _next_free(subnet: Any, instance: object) -> str:
    return free_addresses(subnet, 1)[0]


def _already_checked(subnet: Any, ip: str, instance: object) -> None:
    """Whether an address can be had is checked before the launch."""


# moto keeps its own list of addresses in a subnet, which knows nothing of interfaces made beforehand.
setattr(Subnet, "get_available_subnet_ip", _next_free)
setattr(Subnet, "request_ip", _already_checked)
