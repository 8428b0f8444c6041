"""Security groups: names and rules that AWS refuses."""

from __future__ import annotations

from typing import Any

from standin.calls import Call
from standin.ec2.registry import EC2
from standin.errors import AwsError
from standin.world import World

_LAST_PORT = 65535
_WITH_PORTS = frozenset({"tcp", "udp", "6", "17"})


@EC2.before("CreateSecurityGroup")
def check_name(world: World, call: Call) -> None:
    """Reserved names, and a description is a must."""
    name = call.params.get("GroupName", "")
    if name.lower().startswith("sg-"):
        raise AwsError(
            "InvalidParameterValue",
            f"Value ({name}) for parameter GroupName is invalid. Group names may not be in the format sg-*.",
        )
    if name == "default":
        raise AwsError("InvalidGroup.Reserved", "The security group 'default' is reserved")
    if not call.params.get("Description"):
        raise AwsError("MissingParameter", "The request must contain the parameter GroupDescription")


@EC2.before("AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress")
def check_ports(world: World, call: Call) -> None:
    """TCP and UDP rules have a range of ports."""
    permissions: list[dict[str, Any]] = call.params.get("IpPermissions") or [call.params]
    for each in permissions:
        if str(each.get("IpProtocol", "-1")).lower() not in _WITH_PORTS:
            continue
        first, last = each.get("FromPort"), each.get("ToPort")
        if first is None or last is None or not 0 <= first <= last <= _LAST_PORT:
            raise AwsError("InvalidParameterValue", f"Invalid TCP/UDP port range ({first}:{last})")
