"""What the API says of the networks that have machines: addresses, routes to the internet, security groups.

https://docs.aws.amazon.com/vpc/latest/userguide/how-it-works.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moto.ec2.models import ec2_backends

from standin.ec2.route_tables import table_of


@dataclass(frozen=True)
class Rule:
    """One line of a security group. Addresses are of the other side; ports are None for all of them."""

    protocol: str
    ports: tuple[int, int] | None
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Host:
    """The primary interface of an instance."""

    instance: str
    address: str
    #: Its public address, if it has one and a route to the internet.
    public: str | None
    ingress: tuple[Rule, ...]
    egress: tuple[Rule, ...]


@dataclass(frozen=True)
class Vpc:
    """One network at one moment."""

    id: str
    cidrs: tuple[str, ...]
    #: The router's address in each subnet.
    gateways: tuple[str, ...]
    hosts: tuple[Host, ...]


def vpcs() -> dict[str, Vpc]:
    """All networks that have an instance, by id. The caller holds the lock."""
    found: dict[str, Vpc] = {}
    for regions in ec2_backends.values():
        for backend in regions.values():
            found.update(_of_region(backend))
    return found


def _of_region(backend: Any) -> dict[str, Vpc]:
    interfaces: dict[str, list[Any]] = {}
    for reservation in backend.reservations.values():
        for instance in reservation.instances:
            if (interface := instance.nics.get(0)) is not None:
                interfaces.setdefault(interface.vpc_id, []).append(interface)
    return {
        vpc_id: Vpc(
            id=vpc_id,
            cidrs=tuple(each["cidr_block"] for each in backend.vpcs[vpc_id].get_cidr_block_association_set()),
            gateways=tuple(
                sorted(
                    str(subnet.cidr.network_address + 1)
                    for subnets in backend.subnets.values()
                    for subnet in subnets.values()
                    if subnet.vpc_id == vpc_id
                )
            ),
            hosts=tuple(_host(backend, each, members) for each in members),
        )
        for vpc_id, members in interfaces.items()
        if vpc_id in backend.vpcs
    }


def _host(backend: Any, interface: Any, members: list[Any]) -> Host:
    def rules(lines: list[Any]) -> tuple[Rule, ...]:
        return tuple(rule for line in lines if (rule := _rule(line, members)) is not None)

    return Host(
        instance=interface.instance.id,
        address=str(interface.private_ip_address),
        public=interface.public_ip if interface.public_ip and _is_open(backend, interface.subnet) else None,
        ingress=tuple(rule for group in interface.group_set for rule in rules(group.ingress_rules)),
        egress=tuple(rule for group in interface.group_set for rule in rules(group.egress_rules)),
    )


def _rule(line: Any, members: list[Any]) -> Rule | None:
    """A rule as far as this network goes; None for one that can match nothing here, such as one about IPv6."""
    if cidr := line.ip_range.get("CidrIp"):
        addresses: tuple[str, ...] = (cidr,)
    else:
        group = line.source_group.get("GroupId")
        holders = (each for each in members if any(group == own.id for own in each.group_set))
        addresses = tuple(str(each.private_ip_address) for each in holders)
    if not addresses:
        return None
    limited = line.ip_protocol in ("tcp", "udp", "6", "17") and line.from_port is not None
    return Rule(line.ip_protocol, (int(line.from_port), int(line.to_port)) if limited else None, addresses)


def _is_open(backend: Any, subnet: Any) -> bool:
    """Whether a subnet is public: its way to everywhere leads through an internet gateway that is attached."""
    return any(
        route.destination_cidr_block == "0.0.0.0/0"
        and route.gateway is not None
        and route.gateway.id.startswith("igw-")
        and route.state == "active"
        for route in table_of(backend, subnet).routes
    )
