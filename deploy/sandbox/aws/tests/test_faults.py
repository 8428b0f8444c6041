"""Faults on demand, delays, and that what is refused has changed nothing."""

from __future__ import annotations

import time
import urllib.error
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from tests.conftest import REGION, Network, StandIn, launch_request, refused


def vpcs(ec2: Any) -> int:
    return len(ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["false"]}])["Vpcs"])


def create_vpc(ec2: Any) -> Any:
    return ec2.create_vpc(CidrBlock="10.0.0.0/16")


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        ("throttle", "RequestLimitExceeded", 503),
        ("quota", "VpcLimitExceeded", 400),
        ("unavailable", "Unavailable", 503),
    ],
)
def test_a_refusal_fires_once_and_changes_nothing(
    standin: StandIn, ec2: Any, kind: str, code: str, status: int
) -> None:
    standin.fault("CreateVpc", kind)
    with pytest.raises(ClientError) as caught:
        create_vpc(ec2)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert vpcs(ec2) == 0
    create_vpc(ec2)
    assert vpcs(ec2) == 1


def test_no_capacity_and_no_quota_for_instances(standin: StandIn, ec2: Any, network: Network) -> None:
    request = launch_request(network)
    standin.fault("RunInstances", "capacity")
    standin.fault("RunInstances", "quota")
    assert refused(ec2.run_instances, **request) == "InsufficientInstanceCapacity"
    assert refused(ec2.run_instances, **request) == "VcpuLimitExceeded"
    assert ec2.run_instances(**request)["Instances"]


def test_throttling_of_the_other_services(standin: StandIn) -> None:
    standin.fault("*", "throttle", times=3)
    assert refused(standin.client("s3").create_bucket, Bucket="lab-bucket") == "SlowDown"
    assert refused(standin.client("ssm").get_parameter, Name="/x") == "ThrottlingException"
    assert refused(standin.client("sts").get_caller_identity) == "Throttling"


def test_an_error_of_ones_own(standin: StandIn, ec2: Any) -> None:
    standin.fault("Create*", "error", code="UnauthorizedOperation", message="No.", status=403, service="ec2")
    with pytest.raises(ClientError) as caught:
        create_vpc(ec2)
    assert caught.value.response["Error"] == {"Code": "UnauthorizedOperation", "Message": "No."}
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_a_lost_response_comes_after_the_change(standin: StandIn, ec2: Any) -> None:
    standin.fault("CreateVpc", "lost-response")
    with pytest.raises(ConnectionClosedError):
        create_vpc(ec2)
    assert vpcs(ec2) == 1
    [lost] = [call for call in standin.calls() if call["action"] == "CreateVpc"]
    assert (lost["status"], lost["fault"]) == (None, "lost-response")


def test_a_time_out_holds_the_connection_and_changes_nothing(standin: StandIn, ec2: Any) -> None:
    standin.fault("CreateVpc", "timeout", seconds=0.2)
    began = time.monotonic()
    with pytest.raises((ConnectionClosedError, ReadTimeoutError)):
        create_vpc(ec2)
    assert time.monotonic() - began >= 0.2
    assert vpcs(ec2) == 0


def test_delays_of_concurrent_calls_overlap(standin: StandIn, ec2: Any) -> None:
    standin.settings(delay_ms=400)
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ec2.describe_vpcs(), range(8)))
    assert 0.4 <= time.monotonic() - began < 8 * 0.4
    calls = standin.calls()
    assert len(calls) == 8
    assert all(call["ended"] - call["began"] >= 0.4 for call in calls)
    assert max(call["began"] for call in calls) < min(call["ended"] for call in calls)


def test_a_delay_of_one_call(standin: StandIn, ec2: Any) -> None:
    standin.fault("DescribeVpcs", "delay", seconds=0.2)
    ec2.describe_vpcs()
    ec2.describe_vpcs()
    slow, fast = standin.calls()
    assert slow["ended"] - slow["began"] >= 0.2 > fast["ended"] - fast["began"]
    assert (slow["fault"], fast["fault"]) == ("delay", None)


def test_parameters_choose_the_call(standin: StandIn, ec2: Any, network: Network) -> None:
    wanted = {"TagSpecifications": [{"Tags": [{"Key": "role", "Value": "worker"}]}]}
    standin.fault("RunInstances", "capacity", times=0, params=wanted)

    def tagged(role: str) -> dict[str, Any]:
        tags = [{"Key": "x", "Value": "y"}, {"Key": "role", "Value": role}]
        return launch_request(network, TagSpecifications=[{"ResourceType": "instance", "Tags": tags}])

    assert ec2.run_instances(**tagged("head"))["Instances"]
    for _ in range(3):
        assert refused(ec2.run_instances, **tagged("worker")) == "InsufficientInstanceCapacity"


def test_probability(standin: StandIn, ec2: Any) -> None:
    standin.fault("DescribeVpcs", "throttle", times=0, probability=0.0)
    fault = standin.fault("DescribeSubnets", "throttle", times=0, probability=1.0)
    ec2.describe_vpcs()
    assert refused(ec2.describe_subnets) == "RequestLimitExceeded"
    fired = {each["id"]: each["fired"] for each in standin.control("GET", "faults")["faults"]}
    assert fired[fault] == 1
    assert sum(fired.values()) == 1


def test_faults_can_be_removed(standin: StandIn, ec2: Any) -> None:
    one, _ = standin.fault("DescribeVpcs", "throttle", times=0), standin.fault("DescribeSubnets", "throttle", times=0)
    standin.control("DELETE", f"faults/{one}")
    ec2.describe_vpcs()
    assert refused(ec2.describe_subnets)
    standin.control("DELETE", "faults")
    ec2.describe_subnets()


@pytest.mark.parametrize(
    "spec",
    [
        {"action": "CreateVpc"},
        {"action": "CreateVpc", "kind": "explode"},
        {"action": "CreateVpc", "kind": "throttle", "often": 3},
    ],
)
def test_wrong_faults_are_refused(standin: StandIn, spec: dict[str, Any]) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        standin.control("POST", "faults", spec)
    assert caught.value.code == 400


def test_an_sdk_that_retries_gets_through(standin: StandIn, launch: Callable[..., list[str]], ec2: Any) -> None:
    standin.fault("StopInstances", "throttle", times=2)
    [machine] = launch()
    for _ in range(2):
        assert refused(ec2.stop_instances, InstanceIds=[machine]) == "RequestLimitExceeded"
    assert ec2.stop_instances(InstanceIds=[machine])["StoppingInstances"]
    assert REGION in {call["region"] for call in standin.calls()}
