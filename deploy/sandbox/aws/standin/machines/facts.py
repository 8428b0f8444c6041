"""What the API says of one instance, as far as its machine has to know."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.instances import Instance

from standin.ec2.existence import find

_SMALLEST_DISK_GIB = 8


@dataclass(frozen=True)
class Facts:
    """One instance at one moment."""

    id: str
    account: str
    region: str
    zone: str
    image: str
    instance_type: str
    architecture: str
    launch_index: int
    reservation: str
    memory_bytes: int
    disk_gib: int
    user_data: bytes | None
    vpc: str
    vpc_cidrs: tuple[str, ...]
    subnet: str
    subnet_cidr: IPv4Network
    interface: str
    address: IPv4Address
    mac: str
    public_address: str | None
    groups: tuple[str, ...]
    group_ids: tuple[str, ...]
    key_name: str | None
    public_key: str | None
    #: The ARN of its profile, and the name of the role in that.
    profile_arn: str | None
    role: str | None

    @property
    def gateway(self) -> IPv4Address:
        """The VPC's router in its subnet."""
        return self.subnet_cidr.network_address + 1

    @property
    def host_name(self) -> str:
        """The short one."""
        return "ip-" + str(self.address).replace(".", "-")

    @property
    def domain(self) -> str:
        """Of the region's private names."""
        return "ec2.internal" if self.region == "us-east-1" else f"{self.region}.compute.internal"


def facts_of(instance: Instance) -> Facts:
    """Reads an instance that has its interface. The caller holds the lock."""
    backend: Any = instance.ec2_backend
    interface = instance.nics[0]
    subnet = interface.subnet
    groups = list(interface.group_set)
    key = backend.key_pairs.get(instance.key_name)
    association = backend.iam_instance_profile_associations.get(instance.id)
    profile = None if association is None else association.iam_instance_profile
    root = instance.block_device_mapping.get(instance.root_device_name)
    known_type = INSTANCE_TYPES.get(instance.instance_type, {})
    return Facts(
        id=instance.id,
        account=backend.account_id,
        region=backend.region_name,
        zone=str(instance.placement.zone),
        image=instance.image_id,
        instance_type=instance.instance_type,
        architecture=str(instance.architecture),
        launch_index=int(instance.ami_launch_index),
        reservation=_reservation(instance),
        memory_bytes=known_type.get("MemoryInfo", {}).get("SizeInMiB", 1024) << 20,
        disk_gib=max(_SMALLEST_DISK_GIB, int(getattr(root, "size", None) or 0)),
        user_data=_user_data(instance),
        vpc=subnet.vpc_id,
        vpc_cidrs=tuple(each["cidr_block"] for each in find(backend, subnet.vpc_id).get_cidr_block_association_set()),
        subnet=subnet.id,
        subnet_cidr=IPv4Network(subnet.cidr_block),
        interface=interface.id,
        address=IPv4Address(str(interface.private_ip_address)),
        mac=interface.mac_address,
        public_address=interface.public_ip,
        groups=tuple(each.name for each in groups),
        group_ids=tuple(each.id for each in groups),
        key_name=instance.key_name,
        public_key=None if key is None else key.material_public.decode().strip(),
        profile_arn=None if profile is None else profile.arn,
        role=profile.roles[0].name if profile is not None and profile.roles else None,
    )


def _reservation(instance: Instance) -> str:
    for reservation in instance.ec2_backend.reservations.values():
        if instance in reservation.instances:
            return str(reservation.id)
    return ""


def _user_data(instance: Instance) -> bytes | None:
    encoded = instance.user_data
    if not encoded:
        return None
    return base64.b64decode(encoded if isinstance(encoded, str) else encoded.as_bytes())
