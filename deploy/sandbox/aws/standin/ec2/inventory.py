"""All instances as whoever stands in for their machines has to know them."""

from __future__ import annotations

import base64
import gzip
from typing import Any

from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import Instance

from standin.ec2.memory import Memory


def instances(memory: Memory) -> list[dict[str, Any]]:
    """Every instance of every account and region; a terminated one has lost most of it. The caller holds the lock."""
    return [
        _shown(instance, memory)
        for regions in ec2_backends.values()
        for backend in regions.values()
        for reservation in backend.reservations.values()
        for instance in reservation.instances
    ]


def _shown(instance: Instance, memory: Memory) -> dict[str, Any]:
    interface = instance.nics.get(0)
    return {
        "id": instance.id,
        "state": instance.state,
        "private_address": interface.private_ip_address if interface else None,
        "public_address": interface.public_ip if interface else None,
        "vpc": interface.subnet.vpc_id if interface else None,
        "user_data": _user_data(instance),
        "tags": {tag["key"]: tag["value"] for tag in instance.get_tags()},
        "booted_at": memory.booted.get(instance.id),
    }


def _user_data(instance: Instance) -> str:
    encoded = instance.user_data or ""
    plain = base64.b64decode(encoded if isinstance(encoded, str) else encoded.as_bytes())
    # cloud-init takes compressed user data too.
    if plain.startswith(b"\x1f\x8b"):
        plain = gzip.decompress(plain)
    return plain.decode(errors="replace")
