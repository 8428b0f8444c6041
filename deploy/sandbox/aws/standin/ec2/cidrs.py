"""CIDR blocks: wrong ones are refused, host bits are cut off as AWS does.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVpc.html says of 100.68.0.18/18 that it becomes
100.68.0.0/18; CreateSubnet, routes and group rules do the same.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from standin.behaviours import Stage
from standin.calls import Call
from standin.ec2.registry import EC2
from standin.errors import AwsError
from standin.world import World

_NAMES = frozenset({"CidrBlock", "CidrIp", "CidrIpv4", "DestinationCidrBlock"})


@EC2.before("*")
def refuse_malformed(world: World, call: Call) -> None:
    """Something that is no IPv4 block."""
    if call.is_change:
        _walk(call.params)


@EC2.before("*", stage=Stage.PREPARE)
def cut_off_host_bits(world: World, call: Call) -> None:
    """The block as AWS will show it."""
    if call.is_change:
        call.params = _walk(call.params)


def _walk(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _walk(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_walk(each, name) for each in value]
    if name not in _NAMES or not isinstance(value, str):
        return value
    try:
        address, prefix = value.split("/")
        return str(ipaddress.IPv4Network((ipaddress.IPv4Address(address), int(prefix)), strict=False))
    except ValueError:
        shown = name[0].lower() + name[1:]
        raise AwsError(
            "InvalidParameterValue",
            f"Value ({value}) for parameter {shown} is invalid. This is not a valid CIDR block.",
        ) from None
