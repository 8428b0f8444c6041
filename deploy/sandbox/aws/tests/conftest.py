"""One stand-in for the whole run, emptied before each test, with boto3 clients that do not retry."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

REGION = "ap-southeast-1"
IMAGE = "ami-003c463c8207b4dfa"
PACKAGE = Path(__file__).parent.parent


class StandIn:
    """A running stand-in: its clients and its control endpoint."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._clients: dict[tuple[str, str, str], Any] = {}

    def client(self, service: str, region: str = REGION, access_key: str = "AKIAIOSFODNN7EXAMPLE") -> Any:
        """A boto3 client that neither retries nor waits long."""
        key = (service, region, access_key)
        if key not in self._clients:
            config = Config(
                retries={"total_max_attempts": 1},
                read_timeout=10,
                max_pool_connections=20,
                s3={"addressing_style": "path"},
                parameter_validation=False,
            )
            self._clients[key] = boto3.client(
                service,
                endpoint_url=self.url,
                region_name=region,
                aws_access_key_id=access_key,
                aws_secret_access_key="secret",
                config=config,
            )
        return self._clients[key]

    def control(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request to the control endpoint. Raises on an HTTP error."""
        request = urllib.request.Request(
            f"{self.url}/_sandbox/{path}", method=method, data=None if body is None else json.dumps(body).encode()
        )
        with urllib.request.urlopen(request) as answer:
            parsed: dict[str, Any] = json.load(answer)
            return parsed

    def settings(self, **changes: Any) -> None:
        """Changes settings."""
        self.control("PUT", "settings", changes)

    def fault(self, action: str, kind: str, **more: Any) -> str:
        """Adds a fault and returns its id."""
        return str(self.control("POST", "faults", {"action": action, "kind": kind, **more})["id"])

    def calls(self) -> list[dict[str, Any]]:
        """All recorded calls."""
        recorded: list[dict[str, Any]] = self.control("GET", "calls")["calls"]
        return recorded


def start(*options: str) -> tuple[subprocess.Popen[str], StandIn]:
    """Starts a stand-in of its own; the caller ends the process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "standin", "--port", "0", "--parent-death", *options],
        cwd=PACKAGE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, StandIn(json.loads(process.stdout.readline())["url"])


@pytest.fixture(scope="session")
def session_standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """The stand-in that all tests share."""
    process, standin = start("--log", str(tmp_path_factory.mktemp("standin") / "log"))
    yield standin
    process.terminate()
    process.wait(10)


@pytest.fixture
def standin(session_standin: StandIn) -> StandIn:
    """The shared stand-in, empty, with instances that change state at once unless a test says otherwise."""
    session_standin.control("POST", "reset")
    session_standin.settings(pending_seconds=0, stopping_seconds=0, shutting_down_seconds=0)
    return session_standin


@pytest.fixture
def ec2(standin: StandIn) -> Any:
    """EC2 of an emptied stand-in."""
    return standin.client("ec2")


class Network:
    """A VPC with one public subnet and a security group."""

    def __init__(self, ec2: Any) -> None:
        self.vpc: str = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnet: str = ec2.create_subnet(VpcId=self.vpc, CidrBlock="10.0.1.0/24", AvailabilityZone=f"{REGION}a")[
            "Subnet"
        ]["SubnetId"]
        self.group: str = ec2.create_security_group(VpcId=self.vpc, GroupName="lab", Description="lab")["GroupId"]


@pytest.fixture
def network(ec2: Any) -> Network:
    """A fresh network."""
    return Network(ec2)


@pytest.fixture
def launch(ec2: Any, network: Network) -> Callable[..., list[str]]:
    """Launches instances into the network and returns their ids."""

    def run(**more: Any) -> list[str]:
        return [each["InstanceId"] for each in ec2.run_instances(**launch_request(network, **more))["Instances"]]

    return run


def launch_request(network: Network, **more: Any) -> dict[str, Any]:
    """The parameters of a launch into the network; None removes one."""
    request = {
        "ImageId": IMAGE,
        "InstanceType": "t2.medium",
        "MinCount": 1,
        "MaxCount": 1,
        "SubnetId": network.subnet,
        "SecurityGroupIds": [network.group],
        **more,
    }
    return {key: value for key, value in request.items() if value is not None}


def refused(call: Callable[..., Any], **params: Any) -> str:
    """The error code with which a call is refused."""
    with pytest.raises(ClientError) as caught:
        call(**params)
    return str(caught.value.response["Error"]["Code"])


def until(condition: Callable[[], Any], seconds: float = 5) -> Any:
    """Waits until a condition is true and returns its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition has not become true in time"
        time.sleep(0.02)
    return value


def instance(ec2: Any, instance_id: str) -> dict[str, Any]:
    """The description of one instance."""
    described: dict[str, Any] = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    return described


def state(ec2: Any, instance_id: str) -> str:
    """The state of one instance."""
    return str(instance(ec2, instance_id)["State"]["Name"])
