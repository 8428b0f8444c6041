"""Subnets: what they must have, and the zones in which they can be."""

from __future__ import annotations

from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend

from standin.calls import Call
from standin.ec2.registry import EC2
from standin.errors import AwsError
from standin.world import World


@EC2.before("CreateSubnet")
def check_zone(world: World, call: Call) -> None:
    """A block, and a zone of the region."""
    if not call.params.get("CidrBlock") and not call.params.get("Ipv6Native"):
        raise AwsError("MissingParameter", "The request must contain the parameter CidrBlock")
    zone = call.params.get("AvailabilityZone")
    zones = [each.name for each in RegionsAndZonesBackend.zones[call.region]]
    if zone is not None and zone not in zones:
        raise AwsError(
            "InvalidParameterValue",
            f"Value ({zone}) for parameter availabilityZone is invalid. Subnets can currently only be created in the "
            f"following availability zones: {', '.join(zones)}.",
        )
