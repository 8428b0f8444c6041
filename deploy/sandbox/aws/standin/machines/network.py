"""Network namespaces: one a machine, one a VPC, and the one that this process is in, which is their internet.

A VPC's namespace is its router. It has the first address of every subnet and one interface for each machine, and
answers for all addresses of the network, as EC2's does: there is no wire between two machines. `edge` leads to the
internet, where each public address that is in use is a route to the VPC that translates it.
"""

from __future__ import annotations

import shlex
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from standin.machines import imds
from standin.machines.facts import Facts
from standin.machines.firewall import EDGE, TO_VPC, rules_of, rules_of_internet
from standin.machines.imds import MetadataService
from standin.machines.metadata import Tree
from standin.machines.view import Vpc
from standin.namespaces import Namespaces

#: Where machines find the internet's services. In the network of RFC 2544, which no machine on the internet is in.
INTERNET = "198.18.0.1"
#: The routers' end of each way to the internet; link-local, so that it is in nobody's way.
_ROUTER = "169.254.0.1"
_NAMESPACES = Path("/run/netns")
_FORWARD = "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0"


class Network:
    """All networks with machines in them. Its lock is taken after the world's, never before."""

    def __init__(self, namespaces: Namespaces, report: Callable[[str], None]) -> None:
        """Raises `OSError` when this machine does not allow any of it."""
        self._namespaces = namespaces
        self._report = report
        self._lock = threading.Lock()
        self._changed = threading.Condition()
        self._wanted: dict[str, Vpc] | None = None
        #: By VPC: what its namespace was told last.
        self._told: dict[str, str] = {}
        #: By public address: the interface here that leads to it.
        self._routes: dict[str, str] = {}
        self._view: dict[str, Vpc] = {}
        #: The VPC of each machine, and the metadata service of each VPC that has any.
        self._members: dict[str, str] = {}
        self._metadata: dict[str, MetadataService] = {}
        self._unplugged: frozenset[str] = frozenset()
        _sh(_FORWARD)
        _sh(f"ip address replace {INTERNET}/32 dev lo")
        _run(["nft", "-f", "-"], rules_of_internet(INTERNET))
        threading.Thread(target=self._follow, name="network", daemon=True).start()

    def follow(self, vpcs: dict[str, Vpc]) -> None:
        """Takes what the API says now; returns at once."""
        with self._changed:
            self._wanted = vpcs
            self._changed.notify_all()

    def plug(self, instance: str, plugged: bool) -> None:
        """Pulls the cable of a machine, or plugs it in again."""
        with self._lock:
            self._unplugged = self._unplugged | {instance} if not plugged else self._unplugged - {instance}
            self._tell_all()

    def is_plugged(self, instance: str) -> bool:
        """Whether the cable of a machine is in."""
        return instance not in self._unplugged

    def join(self, facts: Facts, metadata: Callable[[], Tree]) -> Path:
        """Makes a machine's namespace and joins it to that of its VPC, with its metadata. Raises `OSError`."""
        own, outer = facts.id, _interface("m", facts.id)
        with self._lock:
            self._open(facts.vpc)
            self._remove(own)
            self._namespaces.add(own)
            self._members[own] = facts.vpc
            _sh(
                f"ip -n {own} link add eth0 address {facts.mac} type veth peer name {outer} netns {facts.vpc}",
                f"ip -n {own} address add {facts.address}/{facts.subnet_cidr.prefixlen} dev eth0",
                f"ip -n {own} link set eth0 up",
                f"ip -n {facts.vpc} link set {outer} up",
                f"ip -n {facts.vpc} route replace {facts.address}/32 dev {outer}",
                f"ip -n {own} route add default via {facts.gateway}",
            )
            # Answers for the other machines of the subnet, and without the usual pause.
            _in(facts.vpc, f"sysctl -qw net.ipv4.conf.{outer}.proxy_arp=1 net.ipv4.neigh.{outer}.proxy_delay=0")
            if facts.vpc not in self._metadata:
                # Not while there are no machines: whoever listens in a namespace keeps it.
                self._metadata[facts.vpc] = MetadataService(_NAMESPACES / facts.vpc)
            self._metadata[facts.vpc].answer(str(facts.address), metadata)
            self._tell_all()
        return _NAMESPACES / own

    def leave(self, instance: str) -> None:
        """Takes a machine's namespace away, if it has one."""
        with self._lock:
            self._remove(instance)

    def _remove(self, instance: str) -> None:
        vpc = self._members.pop(instance, None)
        if vpc is None:
            return
        if (_NAMESPACES / vpc).exists():
            # At once: what goes with a namespace goes a moment later.
            _sh(f"ip -n {vpc} link delete {_interface('m', instance)} || true")
        if vpc not in self._members.values() and vpc in self._metadata:
            self._metadata.pop(vpc).close()
        self._namespaces.remove(instance)

    def _open(self, vpc: str) -> None:
        """Makes a VPC a router with a way to the internet."""
        if vpc in self._told and (_NAMESPACES / vpc).exists():
            return
        if not (_NAMESPACES / vpc).exists():
            self._namespaces.add(vpc)
        here = _interface(TO_VPC, vpc)
        _in(vpc, _FORWARD)
        _sh(
            f"ip link add {here} type veth peer name {EDGE} netns {vpc}",
            f"ip link set {here} up",
            f"ip -n {vpc} address add {_ROUTER}/32 dev {EDGE}",
            f"ip -n {vpc} link set {EDGE} up",
            f"ip -n {vpc} address add {imds.ADDRESS}/32 dev lo",
            f"ip -n {vpc} route add default via {INTERNET} dev {EDGE} onlink",
        )
        self._told[vpc] = ""

    def _follow(self) -> None:
        while True:
            with self._changed:
                while self._wanted is None:
                    self._changed.wait()
                wanted, self._wanted = self._wanted, None
            with self._lock:
                self._view = wanted
                self._tell_all()

    def _tell_all(self) -> None:
        for vpc in list(self._told):
            if not (_NAMESPACES / vpc).exists():
                del self._told[vpc]
        for vpc in self._told.keys() & self._view.keys():
            try:
                self._tell(self._view[vpc])
            except OSError as error:
                # One that is deleted meanwhile needs nothing any more.
                if (_NAMESPACES / vpc).exists():
                    self._report(f"the network of {vpc} is not as it should be: {error}")
        try:
            self._lead_to_public_addresses()
        except OSError as error:
            self._report(f"public addresses do not lead to their machines: {error}")

    def _tell(self, vpc: Vpc) -> None:
        rules = rules_of(vpc, self._unplugged)
        lines = [f"ip address replace {each}/32 dev lo" for each in vpc.gateways]
        # What has no machine leads nowhere, and never to the internet.
        lines += [f"ip route replace blackhole {each}" for each in vpc.cidrs]
        told = "\n".join([*lines, rules])
        if self._told[vpc.id] != told:
            _in(vpc.id, *lines, "nft -f -", given=rules)
            self._told[vpc.id] = told

    def _lead_to_public_addresses(self) -> None:
        wanted = {
            host.public: _interface(TO_VPC, vpc)
            for vpc in self._told.keys() & self._view.keys()
            for host in self._view[vpc].hosts
            if host.public is not None
        }
        # In the table that is looked up first: whatever else is routed here, these go to their machines.
        lines = [f"ip route delete {each}/32 table local || true" for each in self._routes.keys() - wanted.keys()]
        lines += [
            f"ip route replace {address}/32 via {_ROUTER} dev {interface} onlink src {INTERNET} table local"
            for address, interface in wanted.items()
            if self._routes.get(address) != interface
        ]
        if lines:
            _sh(*lines)
        self._routes = wanted


def _interface(prefix: str, resource: str) -> str:
    """A name for an interface from the id of what it leads to; 15 characters are the most there can be."""
    return (prefix + resource.rsplit("-", 1)[1][-11:])[:15]


def _in(namespace: str, *lines: str, given: str = "") -> None:
    """Runs a script inside a namespace; its commands stay ordinary ones."""
    _run(["nsenter", f"--net={_NAMESPACES / namespace}", "sh", "-ec", "\n".join(lines)], given)


def _sh(*lines: str) -> None:
    _run(["sh", "-ec", "\n".join(lines)])


def _run(command: list[str], given: str = "") -> None:
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=30)
    except subprocess.TimeoutExpired as error:
        raise OSError(f"`{shlex.join(command)}` takes too long") from error
    if done.returncode != 0:
        raise OSError(f"`{shlex.join(command)}` failed: {done.stderr.strip()}")
