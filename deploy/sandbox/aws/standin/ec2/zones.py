"""In which zone a launch lands."""

from __future__ import annotations

from typing import Any

from standin.calls import Call
from standin.moto_backend import ec2


def zone_of(call: Call) -> str:
    """The zone that a RunInstances call asks for: its subnet's, else its placement's, else the region's first."""
    interfaces: list[dict[str, Any]] = call.params.get("NetworkInterfaces", [])
    subnet_id = call.params.get("SubnetId")
    for interface in interfaces:
        if interface.get("NetworkInterfaceId"):
            eni = ec2(call).enis.get(interface["NetworkInterfaceId"])
            return str(eni.availability_zone) if eni else ""
        subnet_id = subnet_id or interface.get("SubnetId")
    if subnet_id:
        subnet = next((zones[subnet_id] for zones in ec2(call).subnets.values() if subnet_id in zones), None)
        return str(subnet.availability_zone) if subnet else ""
    return str(call.params.get("Placement", {}).get("AvailabilityZone") or call.region + "a")
