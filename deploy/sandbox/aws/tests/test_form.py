"""Requests that are incomplete or cannot be read get an error of AWS's, never a failure of the stand-in."""

from __future__ import annotations

import http.client
from typing import Any
from urllib.parse import urlparse

import pytest

from tests.conftest import Network, StandIn, refused

SCOPE = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/{}/aws4_request, Signature=0"


@pytest.mark.parametrize(
    ("action", "parameters", "code"),
    [
        ("delete_vpc", {}, "MissingParameter"),
        ("delete_vpc", {"VpcId": "x"}, "InvalidVpcID.NotFound"),
        ("delete_vpc", {"VpcId": "subnet-0123456789abcdef0"}, "InvalidVpcID.NotFound"),
        ("delete_route_table", {"RouteTableId": "x"}, "InvalidRouteTableID.NotFound"),
        ("delete_network_interface", {"NetworkInterfaceId": "x"}, "InvalidNetworkInterfaceID.NotFound"),
        ("detach_network_interface", {"AttachmentId": "x"}, "InvalidAttachmentID.NotFound"),
        ("modify_instance_attribute", {"InstanceId": "x"}, "InvalidInstanceID.Malformed"),
        ("get_console_output", {"InstanceId": "i-0123456789abcdef0"}, "InvalidInstanceID.NotFound"),
        ("create_subnet", {}, "MissingParameter"),
        ("run_instances", {"ImageId": "ami-003c463c8207b4dfa"}, "MissingParameter"),
        ("describe_vpc_attribute", {"VpcId": "vpc-0123456789abcdef0"}, "MissingParameter"),
        ("describe_instance_type_offerings", {"LocationType": "moon"}, "InvalidParameterValue"),
        ("terminate_instances", {}, "MissingParameter"),
        ("disassociate_address", {"AssociationId": "x"}, "InvalidAssociationID.NotFound"),
        ("disassociate_route_table", {"AssociationId": "x"}, "InvalidAssociationID.NotFound"),
    ],
)
def test_incomplete_and_wrong_requests(ec2: Any, action: str, parameters: dict[str, str], code: str) -> None:
    assert refused(getattr(ec2, action), **parameters) == code


def test_a_subnet_needs_a_block(ec2: Any, network: Network) -> None:
    assert refused(ec2.create_subnet, VpcId=network.vpc) == "MissingParameter"


@pytest.mark.parametrize(
    ("service", "method", "path", "body", "code"),
    [
        ("ec2", "POST", "/", "Action=RunInstances&Version=2016-11-15&MinCount=many", "MalformedQueryString"),
        ("s3", "PUT", "/lab-raw?versioning", "<VersioningConfig", "MalformedXML"),
        ("ssm", "POST", "/", "{nonsense", "SerializationException"),
    ],
)
def test_unreadable_requests(standin: StandIn, service: str, method: str, path: str, body: str, code: str) -> None:
    headers = {"Authorization": SCOPE.format(service)}
    headers["Content-Type"] = {
        "ec2": "application/x-www-form-urlencoded",
        "s3": "application/xml",
        "ssm": "application/x-amz-json-1.1",
    }[service]
    if service == "ssm":
        headers["X-Amz-Target"] = "AmazonSSM.GetParameter"
    connection = http.client.HTTPConnection(urlparse(standin.url).netloc)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    assert (answer.status, code in answer.read().decode()) == (400, True)
    connection.close()


def test_each_answer_has_a_request_id_of_its_own(ec2: Any) -> None:
    ids = {ec2.describe_vpcs()["ResponseMetadata"]["RequestId"] for _ in range(3)}
    assert len(ids) == 3
