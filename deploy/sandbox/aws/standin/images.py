"""The images of a region, and the public SSM parameters that name Ubuntu's current ones, which moto does not have.

https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from moto.ec2.models import EC2Backend
from moto.ec2.models.amis import Ami, AmiBackend
from moto.ssm.models import Parameter, ParameterDict
from moto.utilities.utils import load_resource

CANONICAL = "099720109477"

#: The image that has Ray, in every region; machines of all other images are plain ones.
WITH_RAY = "ami-0ac0ffee000000260"
#: The SSM parameter that names it.
WITH_RAY_PARAMETER = "/rayward/sandbox/ray"

_BUILT = datetime(2026, 1, 15, tzinfo=UTC).replace(tzinfo=None)
_ROOT_GIB = 8
_RELEASES = {"22.04": "jammy", "24.04": "noble"}
#: An image that exists in one region whatever the parameters say is current, by region: the one of the lab manifest.
_FIXED = {"ap-southeast-1": "ami-003c463c8207b4dfa"}


@dataclass(frozen=True)
class UbuntuImage:
    """One image of Canonical's in one region, or the one with Ray."""

    id: str
    release: str
    architecture: str

    @property
    def parameters(self) -> list[str]:
        """The SSM parameters whose value is this image's id."""
        if self.id == WITH_RAY:
            return [WITH_RAY_PARAMETER]
        base = f"/aws/service/canonical/ubuntu/server/{self.release}/stable/current/{self.architecture}/hvm"
        return [f"{base}/ebs-{volume}/ami-id" for volume in ("gp2", "gp3")]

    @property
    def name(self) -> str:
        """The name under which it is published."""
        if self.id == WITH_RAY:
            return f"rayward/sandbox/ray-{_BUILT:%Y%m%d}-gp3"
        codename = _RELEASES[self.release]
        return f"ubuntu/images/hvm-ssd-gp3/ubuntu-{codename}-{self.release}-{self.architecture}-server-{_BUILT:%Y%m%d}"


def current_images(region: str) -> list[UbuntuImage]:
    """The images that the SSM parameters of a region name. Ids are made from the name, so that they never change."""
    return [
        UbuntuImage(_made_id(region, release, architecture), release, architecture)
        for release in _RELEASES
        for architecture in ("amd64", "arm64")
    ] + [UbuntuImage(WITH_RAY, "24.04", "amd64")]


def _made_id(*parts: str) -> str:
    return "ami-" + hashlib.sha256("/".join(parts).encode()).hexdigest()[:17]


def _ami(backend: EC2Backend, image: UbuntuImage) -> Ami:
    return Ami(
        backend,
        ami_id=image.id,
        name=image.name,
        description=f"Canonical, Ubuntu, {image.release}, {image.architecture} {_RELEASES[image.release]} image",
        owner_id=CANONICAL,
        image_location=f"amazon/{image.name}",
        public=True,
        virtualization_type="hvm",
        architecture="x86_64" if image.architecture == "amd64" else "arm64",
        creation_date=_BUILT,
        hypervisor="xen",
        root_device_type="ebs",
        root_device_name="/dev/sda1",
        region_name=backend.region_name,
        boot_mode="uefi-preferred",
    )


def _mappings(image: Any) -> list[dict[str, Any]]:
    """The root disk as these images have it; moto gives every image a magnetic one that stays when its machine ends."""
    disk = {
        "SnapshotId": image.ebs_snapshot.id,
        "VolumeSize": _ROOT_GIB,
        "VolumeType": "gp3" if "gp3" in (image.name or "") else "gp2",
        "DeleteOnTermination": True,
        "Encrypted": False,
    }
    return [{"DeviceName": image.root_device_name, "Ebs": disk}]


def _amazon_linux(region: str) -> list[dict[str, Any]]:
    """The images that moto's SSM parameters of Amazon Linux name."""
    try:
        known = load_resource(f"ec2/resources/latest_amis/{region}.json")
    except FileNotFoundError:
        return []
    return [{**each, "owner_alias": "amazon"} for each in known]


def install() -> None:
    """Makes every region of moto start with these images and parameters."""
    parameters_init = ParameterDict.__init__

    def load_with_ubuntu(backend: EC2Backend) -> None:
        for known in _amazon_linux(backend.region_name):
            backend.amis[known["ami_id"]] = Ami(backend, **known)
        images = current_images(backend.region_name)
        if fixed := _FIXED.get(backend.region_name):
            images.append(UbuntuImage(fixed, "22.04", "amd64"))
        for image in images:
            backend.amis[image.id] = _ami(backend, image)

    def start_with_canonical(parameters: ParameterDict, account_id: str, region_name: str) -> None:
        parameters_init(parameters, account_id, region_name)
        for image in current_images(region_name):
            for name in image.parameters:
                dict.setdefault(parameters, name, []).append(
                    Parameter(  # type: ignore[abstract]
                        account_id=account_id,
                        name=name,
                        value=image.id,
                        parameter_type="String",
                        description=None,
                        allowed_pattern=None,
                        keyid=None,
                        last_modified_date=_BUILT,
                        version=1,
                        data_type="aws:ec2:image",
                    )
                )

    setattr(Ami, "block_device_mappings", property(_mappings))
    setattr(AmiBackend, "_load_amis", load_with_ubuntu)
    setattr(ParameterDict, "__init__", start_with_canonical)
