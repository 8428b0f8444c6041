"""Corrections inside moto's models, where no hook around a call can reach.

Each one says what moto does without it.
"""

from __future__ import annotations

from typing import Any

from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.instances import Instance


def install() -> None:
    """Applies all corrections. Called once, before the first call."""
    _tags_by_lookup()
    _instances_without_interfaces()
    _owner_of_public_addresses()


def _tags_by_lookup() -> None:
    """moto matches a regular expression with the tags of all resources to find those of one: minutes at 10,000."""

    def get_tags(resource: Any) -> list[dict[str, str]]:
        return [
            {"key": key, "value": value, "resource_id": resource.id}
            for key, value in resource.ec2_backend.tags.get(resource.id, {}).items()
        ]

    setattr(TaggedEC2Resource, "get_tags", get_tags)


def _instances_without_interfaces() -> None:
    """moto cannot describe an instance that has no interface, as a terminated one has none."""

    def of_first_interface(attribute: str) -> property:
        def value(instance: Any) -> Any:
            first = instance.nics.get(0)
            return None if first is None else getattr(first, attribute)

        return property(value)

    for name, attribute in (
        ("private_ip", "private_ip_address"),
        ("private_ip_address", "private_ip_address"),
        ("public_ip", "public_ip"),
        ("public_ip_address", "public_ip"),
    ):
        setattr(Instance, name, of_first_interface(attribute))
    with_address = Instance.private_dns_name.fget  # type: ignore[attr-defined]
    dns_name = property(lambda instance: with_address(instance) if instance.private_ip else "")
    setattr(Instance, "private_dns_name", dns_name)


def _owner_of_public_addresses() -> None:
    """moto gives every public address to the account: AWS says of an automatic one that it is Amazon's."""
    by_moto = NetworkInterface.association.fget  # type: ignore[attr-defined]

    def association(interface: NetworkInterface) -> dict[str, Any]:
        found: dict[str, Any] = by_moto(interface)
        if found and "allocationId" not in found:
            found["ipOwnerId"] = "amazon"
        return found

    setattr(NetworkInterface, "association", property(association))
