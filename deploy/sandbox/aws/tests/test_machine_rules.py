"""What machines are given, where no machine is needed to see it: control groups, rules, metadata, keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from standin.machines.cgroups import CgroupError, find
from standin.machines.credentials import Credentials
from standin.machines.firewall import rules_of
from standin.machines.metadata import read
from standin.machines.view import Host, Rule, Vpc
from tests.conftest import StandIn

_V2 = "30 23 0:26 {root} /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate"
_HYBRID = """48 47 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
52 48 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
53 48 0:33 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
57 48 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
58 48 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"""


def test_control_groups_of_version_2() -> None:
    found = find(_V2.format(root="/"), "0::/user.slice/session.scope\n")
    assert found.all() == [Path("/sys/fs/cgroup/user.slice/session.scope")]
    assert (found.memory, found.memory_limit) == (found.unified, "memory.max")


def test_control_groups_in_a_container() -> None:
    # Its own group is what is mounted.
    assert find(_V2.format(root="/box"), "0::/box\n").unified == Path("/sys/fs/cgroup")
    assert find(_V2.format(root="/box"), "0::/box/in\n").unified == Path("/sys/fs/cgroup/in")


def test_control_groups_of_both_versions() -> None:
    found = find(_HYBRID, "9:name=systemd:/\n4:memory:/mine\n1:cpu,cpuacct:/\n0::/\n")
    top = Path("/sys/fs/cgroup")
    assert found.all() == [top / "unified", top / "systemd", top / "memory/mine"]
    assert found.memory_limit == "memory.limit_in_bytes"


def test_no_control_groups_of_version_2() -> None:
    with pytest.raises(CgroupError):
        find("", "4:memory:/\n")


def rules(*ingress: Rule, public: str | None = None, unplugged: tuple[str, ...] = ()) -> str:
    everything = Rule("-1", None, ("0.0.0.0/0",))
    host = Host("i-1", "10.0.1.4", public, ingress, (everything,))
    return rules_of(Vpc("vpc-1", ("10.0.0.0/16",), ("10.0.1.1",), (host,)), unplugged)


@pytest.mark.parametrize(
    ("rule", "written"),
    [
        (Rule("tcp", (22, 22), ("203.0.113.0/24",)), "ip saddr { 203.0.113.0/24 } tcp dport 22-22 accept"),
        (Rule("17", (53, 54), ("10.0.0.4", "10.0.0.5")), "ip saddr { 10.0.0.4, 10.0.0.5 } udp dport 53-54 accept"),
        (Rule("icmp", None, ("0.0.0.0/0",)), "ip saddr { 0.0.0.0/0 } ip protocol icmp accept"),
        (Rule("-1", None, ("0.0.0.0/0",)), "ip saddr { 0.0.0.0/0 } accept"),
    ],
)
def test_a_rule_of_a_security_group(rule: Rule, written: str) -> None:
    chain = rules(rule).split("chain ingress-i-1 {")[1].split("}\nchain")[0]
    assert [line for line in chain.splitlines() if line] == [written]


def test_public_addresses_are_translated_both_ways() -> None:
    written = rules(public="198.18.1.1")
    assert "198.18.1.1 : 10.0.1.4" in written
    assert "10.0.1.4 : 198.18.1.1" in written
    assert "198.18" not in rules()


def test_a_pulled_cable_is_an_unplugged_address() -> None:
    line = "set unplugged { type ipv4_addr; elements = { 10.0.1.4 }; }"
    assert line in rules(unplugged=("i-1",))
    assert line not in rules(unplugged=("i-2",))


def test_folders_of_metadata_are_listed() -> None:
    tree = {
        "meta-data": {"a": "1", "b": {"c": "2"}, "public-keys": {"0=lab": None, "0": {"openssh-key": "ssh-ed25519 A"}}},
        "user-data": b"\x1f\x8b",
    }
    assert read(tree, "") == b"meta-data/\nuser-data"
    assert read(tree, "meta-data/") == b"a\nb/\npublic-keys/"
    assert read(tree, "meta-data/b/c") == b"2"
    assert read(tree, "meta-data/b/c/d") is None
    assert read(tree, "user-data") == b"\x1f\x8b"
    # As EC2 lists them, by number and name, and shows them, by number alone.
    assert read(tree, "meta-data/public-keys/") == b"0=lab"
    assert read(tree, "meta-data/public-keys/0/openssh-key") == b"ssh-ed25519 A"


def test_keys_stay_while_they_last_and_belong_to_an_account() -> None:
    credentials = Credentials()
    keys = credentials.of("i-1", "lab", "123456789012")
    assert credentials.of("i-1", "lab", "123456789012") == keys
    assert credentials.of("i-2", "lab", "123456789012") != keys
    assert credentials.of("i-1", "another", "123456789012") != keys
    assert credentials.account_of(keys["AccessKeyId"], keys["Token"]) == "123456789012"
    assert credentials.account_of(keys["AccessKeyId"], None) is None
    assert credentials.account_of("AKIAIOSFODNN7EXAMPLE", keys["Token"]) is None


def test_without_machines_there_are_none_to_ask_for(standin: StandIn) -> None:
    with pytest.raises(OSError, match="404"):
        standin.control("GET", "machines")


def test_the_image_with_ray(standin: StandIn) -> None:
    named = standin.client("ssm").get_parameter(Name="/rayward/sandbox/ray")["Parameter"]["Value"]
    [image] = standin.client("ec2").describe_images(ImageIds=[named])["Images"]
    assert (image["State"], image["Architecture"]) == ("available", "x86_64")
