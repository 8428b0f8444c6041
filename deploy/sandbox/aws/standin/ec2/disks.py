"""Disks of a launch: the image's root disk, what the request says of it, and further ones.

A mapping with another name than the image's root device adds a second disk.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/block-device-mapping-concepts.html
"""

from __future__ import annotations

import copy
from typing import Any

from standin.behaviours import Stage
from standin.calls import Call
from standin.ec2.existence import find
from standin.ec2.registry import EC2
from standin.errors import AwsError
from standin.moto_backend import ec2
from standin.world import World

_TYPES = frozenset({"standard", "gp2", "gp3", "io1", "io2", "sc1", "st1"})


@EC2.before("RunInstances")
def check(world: World, call: Call) -> None:
    """Types exist, and the root disk has room for the image."""
    for mapping in _merged(call):
        disk = mapping.get("Ebs")
        if disk is None:
            continue
        if disk.get("VolumeType", "gp2") not in _TYPES:
            raise AwsError("InvalidParameterValue", f"Invalid value '{disk['VolumeType']}' for VolumeType.")
        least = mapping.get("Least", 0)
        if not disk.get("VolumeSize") and not disk.get("SnapshotId"):
            raise AwsError("MissingParameter", "The request must contain the parameter size or snapshotId")
        if disk.get("VolumeSize", least) < least:
            raise AwsError(
                "InvalidBlockDeviceMapping",
                f"Volume of size {disk['VolumeSize']}GB is smaller than snapshot '{disk['SnapshotId']}', "
                f"expect size >= {least}GB",
            )


@EC2.before("RunInstances", stage=Stage.PREPARE)
def complete(world: World, call: Call) -> None:
    """moto makes the disks of the request only, and keeps them after the end unless told."""
    mappings = _merged(call)
    for mapping in mappings:
        mapping.pop("Least", None)
        if "Ebs" in mapping:
            mapping["Ebs"].setdefault("DeleteOnTermination", True)
    if mappings:
        call.params["BlockDeviceMappings"] = mappings


def _merged(call: Call) -> list[dict[str, Any]]:
    """The image's disk with the request's wishes, then the request's other disks."""
    requested: list[dict[str, Any]] = copy.deepcopy(call.params.get("BlockDeviceMappings", []))
    image = find(ec2(call), call.params.get("ImageId", ""))
    if image is None:
        return requested
    merged: list[dict[str, Any]] = []
    for mapping in image.block_device_mappings:
        least = mapping["Ebs"]["VolumeSize"]
        wish = next((each for each in requested if each.get("DeviceName") == mapping["DeviceName"]), {})
        disk = {**mapping["Ebs"], **wish.get("Ebs", {})}
        merged.append({"DeviceName": mapping["DeviceName"], "Ebs": disk, "Least": least})
    roots = {each["DeviceName"] for each in merged}
    return merged + [each for each in requested if each.get("DeviceName") not in roots]
