"""A network as rules for nft, in the network namespace of its VPC: public addresses at its edge, security groups.

Machines reach each other by way of the router only, so that every packet meets the rules here.
"""

from __future__ import annotations

from collections.abc import Iterable

from standin.machines.view import Host, Rule, Vpc

#: The interface of a VPC's namespace that leads to the internet.
EDGE = "edge"
#: Begins the name of the interface, in the internet's namespace, that leads to a VPC.
TO_VPC = "vpc"
_TABLE = "rayward"


def rules_of_internet(services: str) -> str:
    """For the internet's namespace, whatever is routed there: machines reach each other, and `services`."""
    refused = "reject with icmp net-unreachable"
    return f"""table ip {_TABLE}
delete table ip {_TABLE}
table ip {_TABLE} {{
chain arrive {{
type filter hook input priority filter;
iifname "{TO_VPC}*" ip daddr != {services} {refused}
}}
chain pass {{
type filter hook forward priority filter;
iifname != "{TO_VPC}*" drop
oifname != "{TO_VPC}*" {refused}
}}
}}
"""


def rules_of(vpc: Vpc, unplugged: Iterable[str]) -> str:
    """Replaces, in one step, all that was there. `unplugged` are instances whose cable is pulled."""
    without_cable = set(unplugged)
    public = [host for host in vpc.hosts if host.public is not None]
    lines = [
        f"table ip {_TABLE}",
        f"delete table ip {_TABLE}",
        f"table ip {_TABLE} {{",
        *_map("arriving", [(str(host.public), host.address) for host in public]),
        *_map("leaving", [(host.address, str(host.public)) for host in public]),
        *_set("with_public_address", [host.address for host in public]),
        *_set("unplugged", [host.address for host in vpc.hosts if host.instance in without_cable]),
        "chain arrive {",
        "type nat hook prerouting priority dstnat;",
        f'iifname "{EDGE}" dnat to ip daddr map @arriving',
        "}",
        "chain leave {",
        "type nat hook postrouting priority srcnat;",
        f'oifname "{EDGE}" snat to ip saddr map @leaving',
        "}",
        *(line for host in vpc.hosts for line in _host(host)),
        "chain pass {",
        "type filter hook forward priority filter; policy drop;",
        "ip saddr @unplugged drop",
        "ip daddr @unplugged drop",
        f'oifname "{EDGE}" ip saddr != @with_public_address drop',
        "ct state established,related accept",
        *_jumps("saddr", "egress", vpc.hosts),
        f'oifname "{EDGE}" accept',
        *_jumps("daddr", "ingress", vpc.hosts),
        "}",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _map(name: str, pairs: list[tuple[str, str]]) -> list[str]:
    elements = ", ".join(f"{key} : {value}" for key, value in pairs)
    return [f"map {name} {{ type ipv4_addr : ipv4_addr; {_elements(elements)} }}"]


def _set(name: str, addresses: list[str]) -> list[str]:
    return [f"set {name} {{ type ipv4_addr; {_elements(', '.join(addresses))} }}"]


def _elements(listed: str) -> str:
    return f"elements = {{ {listed} }};" if listed else ""


def _jumps(side: str, direction: str, hosts: tuple[Host, ...]) -> list[str]:
    pairs = ", ".join(f"{host.address} : jump {_chain(direction, host)}" for host in hosts)
    return [f"ip {side} vmap {{ {pairs} }}"] if pairs else []


def _host(host: Host) -> list[str]:
    """What may leave goes on to the rules of its destination; what may arrive is through."""
    return [
        f"chain {_chain('egress', host)} {{",
        *(f"{_match(rule, 'daddr')} return" for rule in host.egress),
        "drop",
        "}",
        f"chain {_chain('ingress', host)} {{",
        *(f"{_match(rule, 'saddr')} accept" for rule in host.ingress),
        "}",
    ]


def _chain(direction: str, host: Host) -> str:
    return f"{direction}-{host.instance}"


def _match(rule: Rule, side: str) -> str:
    match = f"ip {side} {{ {', '.join(rule.addresses)} }}"
    if rule.ports is not None:
        name = {"6": "tcp", "17": "udp"}.get(rule.protocol, rule.protocol)
        return f"{match} {name} dport {rule.ports[0]}-{rule.ports[1]}"
    return match if rule.protocol == "-1" else f"{match} ip protocol {rule.protocol}"
