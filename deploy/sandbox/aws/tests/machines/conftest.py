"""One stand-in with three machines, which all tests here share; they leave them as they found them."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from standin.machines.internet import AWS_PORT
from standin.machines.network import INTERNET
from tests.conftest import IMAGE, PACKAGE, REGION, StandIn, instance, start, state, until

IMAGES = PACKAGE.parents[2] / "target" / "sandbox" / "machines"
#: Says on port 80 who it is, at every boot, and notes each time that it runs itself.
USER_DATA = """#!/bin/sh
echo ran >>/srv/ran
mkdir /srv/www
cp /var/lib/cloud/data/instance-id /srv/www/id
cat >/etc/systemd/system/say-who.service <<'END'
[Service]
ExecStart=/usr/bin/python3 -m http.server 80 --directory /srv/www
[Install]
WantedBy=multi-user.target
END
systemctl enable --now say-who
"""
ROLE = "lab"


def why_not() -> str | None:
    """Why machines cannot be booted here."""
    if os.environ.get("RAYWARD_SANDBOX") != "1":
        return "machines are booted inside deploy/sandbox/inside only"
    if os.geteuid() != 0:
        return "machines take root"
    if not (IMAGES / "plain").is_dir():
        return f"there is no image {IMAGES / 'plain'}: `make tools` builds it"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what is in this folder where there can be no machines."""
    reason = why_not()
    for item in items:
        if reason is not None and Path(item.path).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.skip(reason=reason))


class Vpc:
    """A VPC 10.0.0.0/16 with a public and a private subnet; its group lets in members, the web, and SSH from here."""

    def __init__(self, ec2: Any) -> None:
        self.id: str = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.public, self.private = (
            str(
                ec2.create_subnet(VpcId=self.id, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"{REGION}a")[
                    "Subnet"
                ]["SubnetId"]
            )
            for number in (1, 2)
        )
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.id)
        self.gateway: str = gateway
        self.table: str = ec2.create_route_table(VpcId=self.id)["RouteTable"]["RouteTableId"]
        ec2.create_route(RouteTableId=self.table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        ec2.associate_route_table(RouteTableId=self.table, SubnetId=self.public)
        self.group: str = ec2.create_security_group(VpcId=self.id, GroupName="lab", Description="lab")["GroupId"]
        web = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": f"{INTERNET}/32"}]}
        own = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": self.group}]}
        ec2.authorize_security_group_ingress(GroupId=self.group, IpPermissions=[web, ssh, own])


class Machine:
    """One instance and its machine."""

    def __init__(self, cloud: Cloud, instance_id: str) -> None:
        self.cloud = cloud
        self.id = instance_id

    def __call__(self, *command: str, seconds: float = 20) -> str:
        """What a command says in it. Fails when the command does."""
        done = self.exec(*command, seconds=seconds)
        assert done["code"] == 0, done
        return str(done["stdout"]).strip()

    def exec(self, *command: str, seconds: float = 20) -> dict[str, Any]:
        """Runs a command in it."""
        return self.act("exec", command=list(command), seconds=seconds)

    def act(self, action: str, **body: Any) -> dict[str, Any]:
        """One of the control endpoint's actions."""
        return self.cloud.standin.control("POST", f"machines/{self.id}/{action}", body)

    @property
    def told(self) -> dict[str, Any]:
        """What the control endpoint says of it."""
        machines: list[dict[str, Any]] = self.cloud.standin.control("GET", "machines")["machines"]
        return next(each for each in machines if each["id"] == self.id)

    @property
    def described(self) -> dict[str, Any]:
        """What the API says of it."""
        return instance(self.cloud.ec2, self.id)

    @property
    def state(self) -> str:
        """Its state."""
        return state(self.cloud.ec2, self.id)

    @property
    def public(self) -> str:
        """Its public address."""
        return str(self.described["PublicIpAddress"])

    def becomes(self, wanted: str) -> None:
        """Waits for a state."""
        until(lambda: self.state == wanted, 20)

    def is_up(self) -> None:
        """Waits until it has booted and all is well with it."""
        self.becomes("running")

        def running() -> bool:
            leader = self.told["leader"]
            if leader is None:
                return False
            said = str(self.exec("systemctl", "is-system-running", "--wait")["stdout"]).strip()
            assert said != "degraded", self.exec("systemctl", "status", "--failed")["stdout"]
            return said == "running"

        until(running, 30)

    def boots_again(self, leader: int) -> None:
        """Waits until another first process than `leader` runs, and all is well."""
        until(lambda: self.told["leader"] not in (None, leader), 20)
        self.is_up()


class Cloud:
    """The stand-in and its machines."""

    def __init__(self, standin: StandIn) -> None:
        self.standin = standin
        self.ec2 = standin.client("ec2")
        self.vpc, self.other_vpc = Vpc(self.ec2), Vpc(self.ec2)

    def launch(self, vpc: Vpc, subnet: str, public: bool, **more: Any) -> Machine:
        """Launches one."""
        interface = {
            "DeviceIndex": 0,
            "SubnetId": subnet,
            "Groups": [vpc.group],
            "AssociatePublicIpAddress": public,
            "PrivateIpAddress": more.pop("address"),
        }
        launched = self.ec2.run_instances(
            ImageId=IMAGE,
            InstanceType="t3.small",
            MinCount=1,
            MaxCount=1,
            UserData=USER_DATA,
            NetworkInterfaces=[interface],
            **more,
        )
        return Machine(self, launched["Instances"][0]["InstanceId"])


@pytest.fixture(scope="package")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The stand-in, without machines yet."""
    log = tmp_path_factory.mktemp("machines") / "log"
    process, standin = start("--log", str(log), "--machines", str(IMAGES))
    standin.settings(pending_seconds=0, stopping_seconds=0, shutting_down_seconds=0)
    yield Cloud(standin)
    process.terminate()
    assert process.wait(30) == 0
    notes = [line for line in log.read_text().splitlines() if "note" in json.loads(line)]
    assert notes == []


@pytest.fixture(scope="package")
def fleet(cloud: Cloud) -> tuple[Machine, Machine, Machine]:
    """All three, booted side by side."""
    iam = cloud.standin.client("iam")
    iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument="{}")
    iam.create_instance_profile(InstanceProfileName="lab-machines")
    iam.add_role_to_instance_profile(InstanceProfileName="lab-machines", RoleName=ROLE)
    vpc, other = cloud.vpc, cloud.other_vpc
    profile = {"IamInstanceProfile": {"Name": "lab-machines"}}
    machines = (
        cloud.launch(vpc, vpc.public, True, address="10.0.1.10", **profile),
        cloud.launch(vpc, vpc.private, False, address="10.0.2.10"),
        cloud.launch(other, other.public, True, address="10.0.1.10"),
    )
    for machine in machines:
        machine.is_up()
    return machines


@pytest.fixture
def head(fleet: tuple[Machine, ...]) -> Machine:
    """A machine with a public address and an instance profile."""
    return fleet[0]


@pytest.fixture
def worker(fleet: tuple[Machine, ...]) -> Machine:
    """A machine in another subnet of the same VPC, with neither."""
    return fleet[1]


@pytest.fixture
def twin(fleet: tuple[Machine, ...]) -> Machine:
    """A machine in another VPC, with the same private address as `head` and a public one of its own."""
    return fleet[2]


def who_is_at(address: str, seconds: float = 1) -> str | None:
    """Which machine answers at an address of the internet; None when none does."""
    try:
        with urllib.request.urlopen(f"http://{address}/id", timeout=seconds) as answer:
            return str(answer.read().decode()).strip()
    except OSError:
        return None


def internet() -> str:
    """Where AWS answers machines."""
    return f"http://{INTERNET}:{AWS_PORT}"
