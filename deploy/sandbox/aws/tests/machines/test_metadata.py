"""The metadata service, seen from machines, and what its keys are good for."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.conftest import REGION, refused
from tests.machines.conftest import ROLE, USER_DATA, Machine, internet

_SERVICE = "http://169.254.169.254/latest"
_READ = f"""
token=$(curl -sf -X PUT {_SERVICE}/api/token -H "X-aws-ec2-metadata-token-ttl-seconds: 60")
curl -sf -H "X-aws-ec2-metadata-token: $token" {_SERVICE}/$0
"""


def read(machine: Machine, path: str) -> str:
    return machine("sh", "-ec", _READ, path)


def status(machine: Machine, *request: str) -> str:
    return machine(
        "curl", "--silent", "--max-time", "5", "--output", "/dev/null", "--write-out", "%{http_code}", *request
    )


def test_it_says_what_the_api_says(head: Machine, worker: Machine) -> None:
    described = head.described
    for path, expected in {
        "instance-id": head.id,
        "ami-id": described["ImageId"],
        "instance-type": "t3.small",
        "local-ipv4": "10.0.1.10",
        "public-ipv4": described["PublicIpAddress"],
        "mac": described["NetworkInterfaces"][0]["MacAddress"],
        "placement/availability-zone": f"{REGION}a",
        "placement/region": REGION,
        "local-hostname": f"ip-10-0-1-10.{REGION}.compute.internal",
        "network/interfaces/macs/": described["NetworkInterfaces"][0]["MacAddress"] + "/",
    }.items():
        assert read(head, f"meta-data/{path}") == expected
    assert read(head, "user-data") == USER_DATA.strip()
    document = json.loads(read(head, "dynamic/instance-identity/document"))
    assert (document["instanceId"], document["region"], document["privateIp"]) == (head.id, REGION, "10.0.1.10")
    assert read(worker, "meta-data/instance-id") == worker.id


def test_a_token_is_required(head: Machine, worker: Machine) -> None:
    path = f"{_SERVICE}/meta-data/instance-id"
    assert status(head, path) == "401"
    assert status(head, path, "-H", "X-aws-ec2-metadata-token: made-up") == "401"
    assert status(head, "-X", "PUT", f"{_SERVICE}/api/token") == "400"
    # Another machine's token is none.
    token = head("curl", "-sf", "-X", "PUT", f"{_SERVICE}/api/token", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60")
    assert status(head, path, "-H", f"X-aws-ec2-metadata-token: {token}") == "200"
    assert status(worker, path, "-H", f"X-aws-ec2-metadata-token: {token}") == "401"


def s3(keys: dict[str, str]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=internet(),
        region_name=REGION,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["Token"],
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def test_only_keys_of_a_profile_open_s3(head: Machine, worker: Machine) -> None:
    path = "meta-data/iam/security-credentials"
    assert read(head, f"{path}/") == ROLE
    with pytest.raises(AssertionError):
        read(worker, f"{path}/")
    keys = json.loads(read(head, f"{path}/{ROLE}"))
    bucket = {"Bucket": "models-of-the-lab"}
    s3(keys).create_bucket(CreateBucketConfiguration={"LocationConstraint": REGION}, **bucket)
    s3(keys).put_object(Key="model", Body=b"model", **bucket)
    assert s3(keys).get_object(Key="model", **bucket)["Body"].read() == b"model"
    for wrong in ({"AccessKeyId": "AKIAIOSFODNN7EXAMPLE"}, {"Token": "another"}):
        assert refused(s3({**keys, **wrong}).list_objects_v2, **bucket) == "AccessDenied"
    assert status(worker, f"http://{head.described['PrivateIpAddress']}/id") == "200"
    # Without any keys, from a machine.
    assert status(head, f"{internet()}/{bucket['Bucket']}") == "403"
    # Whoever is not on the internet uses any key, as ever.
    head.cloud.standin.client("s3").delete_object(Key="model", **bucket)
    head.cloud.standin.client("s3").delete_bucket(**bucket)


def test_machines_do_not_reach_the_control_endpoint(head: Machine) -> None:
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{internet()}/_sandbox/health", timeout=5)
    assert status(head, f"{internet()}/_sandbox/health") in ("403", "404")
