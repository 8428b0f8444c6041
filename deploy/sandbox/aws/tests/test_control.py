"""The record of calls, the settings, reset, and instances that fail on their own."""

from __future__ import annotations

import gzip
import time
import urllib.error
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Network, StandIn, instance, launch_request, refused, state


def test_health(standin: StandIn) -> None:
    assert standin.control("GET", "health") == {"ok": True}


def test_each_call_is_recorded(standin: StandIn, ec2: Any) -> None:
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    assert refused(ec2.describe_vpcs, Filters=[{"Name": "wrong", "Values": ["x"]}])
    created, failed = standin.calls()
    assert (created["service"], created["action"], created["region"]) == ("ec2", "CreateVpc", "ap-southeast-1")
    assert (created["change"], created["status"], created["error"]) == (True, 200, None)
    assert created["params"] == {"CidrBlock": "10.0.0.0/16"}
    assert vpc in created["ids"]
    assert created["began"] <= created["ended"]
    assert (failed["change"], failed["status"], failed["error"]) == (False, 400, "InvalidParameterValue")
    assert failed["params"]["Filters"] == [{"Name": "wrong", "Values": ["x"]}]
    assert failed["seq"] > created["seq"]
    assert standin.control("GET", f"calls?since={created['seq']}")["calls"] == [failed]
    standin.control("DELETE", "calls")
    assert standin.calls() == []


def test_secrets_are_not_recorded(standin: StandIn, ec2: Any, network: Network) -> None:
    ec2.run_instances(**launch_request(network, UserData="hush hush"))
    ssm = standin.client("ssm")
    ssm.put_parameter(Name="/a", Value="hush hush", Type="String")
    recorded = standin.calls()
    assert "RunInstances" in {call["action"] for call in recorded}
    assert "hush" not in repr(recorded)
    assert "aHVzaCBodXNo" not in repr(recorded)


def test_settings(standin: StandIn) -> None:
    standin.settings(delay_ms=3, capacity={"t2.medium/ap-southeast-1a": 3})
    shown = standin.control("GET", "settings")
    assert shown["delay_ms"] == 3
    assert shown["capacity"] == {"t2.medium/ap-southeast-1a": 3}


@pytest.mark.parametrize(
    "changes", [{"delay": 3}, {"delay_ms": "3"}, {"delay_ms": -1}, {"stale_ids": 1}, {"capacity": {"a": "b"}}]
)
def test_wrong_settings_are_refused(standin: StandIn, changes: dict[str, Any]) -> None:
    before = standin.control("GET", "settings")
    with pytest.raises(urllib.error.HTTPError) as caught:
        standin.settings(pending_seconds=7, **changes)
    assert caught.value.code == 400
    assert standin.control("GET", "settings") == before


def test_an_unknown_path_names_the_known_ones(standin: StandIn) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        standin.control("GET", "nothing")
    assert caught.value.code == 404
    assert "/_sandbox/calls" in caught.value.read().decode()


def test_reset_empties_everything(standin: StandIn, ec2: Any, launch: Callable[..., list[str]]) -> None:
    standin.client("s3").create_bucket(
        Bucket="lab-bucket", CreateBucketConfiguration={"LocationConstraint": "ap-southeast-1"}
    )
    launch(ClientToken="one")
    standin.settings(delay_ms=1, pending_seconds=9)
    standin.fault("*", "throttle", times=0)
    standin.control("POST", "reset")
    assert standin.calls() == []
    assert standin.control("GET", "faults") == {"faults": []}
    assert standin.control("GET", "settings")["delay_ms"] == 0
    assert ec2.describe_instances()["Reservations"] == []
    assert standin.client("s3").list_buckets()["Buckets"] == []


def test_failed_status_checks(standin: StandIn, ec2: Any, launch: Callable[..., list[str]]) -> None:
    well, ill = launch(), launch()
    standin.control("POST", f"instances/{ill[0]}/status", {"system": "impaired", "instance": "insufficient-data"})

    def found(name: str, value: str) -> list[str]:
        filters = [{"Name": name, "Values": [value]}]
        return [each["InstanceId"] for each in ec2.describe_instance_status(Filters=filters)["InstanceStatuses"]]

    assert found("system-status.status", "impaired") == ill
    assert found("instance-status.status", "insufficient-data") == ill
    assert found("instance-status.status", "ok") == well
    [status] = ec2.describe_instance_status(InstanceIds=ill)["InstanceStatuses"]
    assert status["SystemStatus"]["Details"] == [{"Name": "reachability", "Status": "failed"}]
    ec2.stop_instances(InstanceIds=ill)
    assert ec2.describe_instance_status(InstanceIds=ill)["InstanceStatuses"] == []
    [status] = ec2.describe_instance_status(InstanceIds=ill, IncludeAllInstances=True)["InstanceStatuses"]
    assert status["SystemStatus"]["Status"] == "not-applicable"
    ec2.start_instances(InstanceIds=ill)
    assert found("system-status.status", "ok") == well + ill


def test_an_instance_can_end_on_its_own(standin: StandIn, ec2: Any, launch: Callable[..., list[str]]) -> None:
    [machine] = launch()
    reason = {"code": "Server.InternalError", "message": "Internal error on launch"}
    standin.control("POST", f"instances/{machine}/state", {"state": "terminated", **reason})
    assert state(ec2, machine) == "terminated"
    assert instance(ec2, machine)["StateReason"] == {
        "Code": "Server.InternalError",
        "Message": "Server.InternalError: Internal error on launch",
    }


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("status", {"instance": "sleepy"}, 400),
        ("status", {"disk": "ok"}, 400),
        ("state", {"state": "dancing"}, 400),
        ("mood", {}, 404),
    ],
)
def test_wrong_wishes_for_instances(
    standin: StandIn, launch: Callable[..., list[str]], path: str, body: dict[str, Any], code: int
) -> None:
    [machine] = launch()
    for target, expected in ((machine, code), ("i-00000000000000000", 404)):
        with pytest.raises(urllib.error.HTTPError) as caught:
            standin.control("POST", f"instances/{target}/{path}", body)
        assert caught.value.code == expected


@pytest.mark.parametrize("user_data", ["#cloud-config", gzip.compress(b"#cloud-config")])
def test_instances_are_listed_with_what_their_machines_need(
    standin: StandIn, ec2: Any, network: Network, launch: Callable[..., list[str]], user_data: str | bytes
) -> None:
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "rayward.dev/role", "Value": "head"}]}]
    [machine] = launch(UserData=user_data, TagSpecifications=tags)
    [shown] = standin.control("GET", "instances")["instances"]
    described = instance(ec2, machine)
    assert shown.pop("booted_at") <= time.time()
    assert shown == {
        "id": machine,
        "state": "running",
        "private_address": described["PrivateIpAddress"],
        "public_address": described.get("PublicIpAddress"),
        "vpc": network.vpc,
        "user_data": "#cloud-config",
        "tags": {"rayward.dev/role": "head"},
    }
    ec2.terminate_instances(InstanceIds=[machine])
    [shown] = standin.control("GET", "instances")["instances"]
    assert (shown["state"], shown["private_address"]) == ("terminated", None)


def test_starts_and_reboots_are_boots(standin: StandIn, ec2: Any, launch: Callable[..., list[str]]) -> None:
    [machine] = launch()

    def booted() -> float:
        [shown] = standin.control("GET", "instances")["instances"]
        return float(shown["booted_at"])

    first = booted()
    assert booted() == first
    ec2.reboot_instances(InstanceIds=[machine])
    second = booted()
    ec2.stop_instances(InstanceIds=[machine])
    ec2.start_instances(InstanceIds=[machine])
    assert first < second < booted()
