"""VPCs and the internet: who reaches whom, by which address, and what the API can change about it."""

from __future__ import annotations

import socket
import subprocess
import urllib.request
from contextlib import closing
from functools import partial

from standin.machines.internet import PACKAGES_PORT
from standin.machines.network import INTERNET
from tests.conftest import until
from tests.machines.conftest import IMAGES, Cloud, Machine, who_is_at


def test_two_vpcs_may_have_the_same_addresses(head: Machine, twin: Machine) -> None:
    assert head.described["PrivateIpAddress"] == twin.described["PrivateIpAddress"]
    assert head.public != twin.public
    assert (who_is_at(head.public), who_is_at(twin.public)) == (head.id, twin.id)


def test_sshd_answers_at_the_public_address(head: Machine) -> None:
    with closing(socket.create_connection((head.public, 22), 5)) as connection:
        assert connection.recv(8).startswith(b"SSH-2.0-")


def test_machines_of_a_vpc_reach_each_other(head: Machine, worker: Machine, twin: Machine) -> None:
    curl = ("curl", "--silent", "--max-time", "2")
    assert worker(*curl, "http://10.0.1.10/id") == head.id
    assert head(*curl, "http://10.0.2.10/id") == worker.id
    # In its own VPC there is no such machine.
    assert twin.exec(*curl, "http://10.0.2.10/id")["code"] != 0


def test_a_machine_is_seen_by_its_public_address(head: Machine, twin: Machine) -> None:
    with socket.create_server((INTERNET, 0)) as listener:
        listener.settimeout(5)
        head("bash", "-c", f"exec 3<>/dev/tcp/{INTERNET}/{listener.getsockname()[1]}")
        connection, (address, _) = listener.accept()
        connection.close()
    assert address == head.public
    assert head("curl", "--silent", "--max-time", "2", f"http://{twin.public}/id") == twin.id
    # By way of the internet, to itself.
    assert head("curl", "--silent", "--max-time", "2", f"http://{head.public}/id") == head.id


def test_a_machine_without_a_public_address_reaches_nothing_outside(head: Machine, worker: Machine) -> None:
    def ping(machine: Machine, address: str) -> bool:
        return bool(machine.exec("ping", "-c", "1", "-W", "1", address)["code"] == 0)

    assert ping(head, INTERNET)
    assert not ping(worker, INTERNET)
    assert not ping(head, "192.0.2.1")


def test_what_is_routed_here_is_not_for_machines(head: Machine) -> None:
    # As a test does that has all addresses lead to itself.
    everything = ("route", "add", "local", "0.0.0.0/0", "dev", "lo")
    subprocess.run(["ip", *everything], check=True)
    assert head.exec("ping", "-c", "1", "-W", "1", "192.0.2.1")["code"] != 0
    assert head.exec("ping", "-c", "1", "-W", "1", INTERNET)["code"] == 0
    assert who_is_at(head.public) == head.id
    subprocess.run(["ip", *("delete" if each == "add" else each for each in everything)], check=True)


def test_this_namespace_leads_to_the_machines_alone(head: Machine, twin: Machine) -> None:
    def routes(*of: str) -> list[str]:
        listed = subprocess.run(["ip", "-4", "route", "show", *of], capture_output=True, text=True, check=True)
        return listed.stdout.splitlines()

    outside = [each for each in routes() if not each.startswith("local ")]
    assert outside == []
    led = {each.split()[0] for each in routes("table", "local") if not each.startswith(("local ", "broadcast "))}
    assert led == {head.public, twin.public}


def test_security_groups_hold_at_once(cloud: Cloud, head: Machine) -> None:
    web = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    elsewhere = {**web, "IpRanges": [{"CidrIp": "203.0.113.0/24"}]}
    group = cloud.vpc.group
    cloud.ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[web])
    until(lambda: who_is_at(head.public, 0.2) is None)
    cloud.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[elsewhere])
    assert who_is_at(head.public, 0.5) is None
    cloud.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[web])
    until(lambda: who_is_at(head.public, 0.2) == head.id)
    cloud.ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[elsewhere])


def test_security_groups_hold_between_machines(cloud: Cloud, head: Machine, worker: Machine) -> None:
    own = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": cloud.vpc.group}]}

    def ssh() -> bool:
        return bool(worker.exec("bash", "-c", "exec 3<>/dev/tcp/10.0.1.10/22", seconds=0.5)["code"] == 0)

    assert ssh()
    cloud.ec2.revoke_security_group_ingress(GroupId=cloud.vpc.group, IpPermissions=[own])
    until(lambda: not ssh())
    cloud.ec2.authorize_security_group_ingress(GroupId=cloud.vpc.group, IpPermissions=[own])
    until(ssh)


def test_without_a_route_to_a_gateway_there_is_no_internet(cloud: Cloud, head: Machine) -> None:
    route = {"RouteTableId": cloud.vpc.table, "DestinationCidrBlock": "0.0.0.0/0"}
    cloud.ec2.delete_route(**route)
    until(lambda: who_is_at(head.public, 0.2) is None)
    assert head.exec("ping", "-c", "1", "-W", "1", INTERNET)["code"] != 0
    cloud.ec2.create_route(GatewayId=cloud.vpc.gateway, **route)
    until(lambda: who_is_at(head.public, 0.2) == head.id)


def is_at(address: str, machine: Machine) -> bool:
    return who_is_at(address, 0.2) == machine.id


def test_an_elastic_address_moves_between_machines(cloud: Cloud, head: Machine, twin: Machine) -> None:
    elastic = cloud.ec2.allocate_address(Domain="vpc")
    address, allocation = elastic["PublicIp"], elastic["AllocationId"]
    assert who_is_at(address, 0.2) is None
    for machine in (head, twin):
        association = cloud.ec2.associate_address(AllocationId=allocation, InstanceId=machine.id)["AssociationId"]
        until(partial(is_at, address, machine))
    cloud.ec2.disassociate_address(AssociationId=association)
    until(lambda: who_is_at(address, 0.2) is None)
    cloud.ec2.release_address(AllocationId=allocation)
    for machine in (head, twin):
        until(partial(is_at, machine.public, machine))


def test_the_package_index(head: Machine) -> None:
    if not (IMAGES / "wheels").is_dir():
        return
    url = f"http://{INTERNET}:{PACKAGES_PORT}/simple/"
    with urllib.request.urlopen(url, timeout=5) as answer:
        assert "ray" in answer.read().decode()
    assert "ray" in head("curl", "--silent", "--max-time", "5", url)
