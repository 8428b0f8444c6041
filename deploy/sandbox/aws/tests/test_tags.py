"""Which tags AWS takes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Network, launch_request, refused, state


def tag(key: str, value: str = "x") -> dict[str, str]:
    return {"Key": key, "Value": value}


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ([tag("aws:mine")], "InvalidParameterValue"),
        ([tag("AWS:mine")], "InvalidParameterValue"),
        ([tag("k" * 129)], "InvalidParameterValue"),
        ([tag("k", "v" * 257)], "InvalidParameterValue"),
        ([tag("")], "InvalidParameterValue"),
        ([tag("k"), tag("k", "y")], "InvalidParameterValue"),
        ([tag(f"k{number}") for number in range(51)], "TagLimitExceeded"),
        ([], "MissingParameter"),
    ],
)
def test_tags_that_are_refused(ec2: Any, network: Network, tags: list[dict[str, str]], code: str) -> None:
    assert refused(ec2.create_tags, Resources=[network.vpc], Tags=tags) == code
    if tags:
        specification = [{"ResourceType": "vpc", "Tags": tags}]
        assert refused(ec2.create_vpc, CidrBlock="10.0.0.0/16", TagSpecifications=specification) == code


def test_fifty_in_all(ec2: Any, network: Network) -> None:
    ec2.create_tags(Resources=[network.vpc], Tags=[tag(f"k{number}") for number in range(50)])
    ec2.create_tags(Resources=[network.vpc], Tags=[tag("k7", "new")])
    assert refused(ec2.create_tags, Resources=[network.vpc], Tags=[tag("one more")]) == "TagLimitExceeded"


@pytest.mark.parametrize(
    ("resource", "code"),
    [
        ("vpc-0123456789abcdef0", "InvalidVpcID.NotFound"),
        ("i-0123456789abcdef0", "InvalidInstanceID.NotFound"),
        ("eipalloc-0123456789abcdef0", "InvalidAllocationID.NotFound"),
        ("vol-0123456789abcdef0", "InvalidVolume.NotFound"),
        ("nonsense", "InvalidID"),
    ],
)
def test_tags_on_nothing(ec2: Any, network: Network, resource: str, code: str) -> None:
    assert refused(ec2.create_tags, Resources=[network.vpc, resource], Tags=[tag("k")]) == code
    [vpc] = ec2.describe_vpcs(VpcIds=[network.vpc])["Vpcs"]
    assert vpc.get("Tags", []) == []


def test_the_type_of_a_specification(ec2: Any) -> None:
    wrong = [{"ResourceType": "subnet", "Tags": [tag("k")]}]
    assert refused(ec2.create_vpc, CidrBlock="10.0.0.0/16", TagSpecifications=wrong) == "InvalidParameterValue"


def test_deleting_with_a_value_deletes_only_that_value(ec2: Any, network: Network) -> None:
    ec2.create_tags(Resources=[network.vpc], Tags=[tag("a", "1"), tag("b", "1"), tag("c", "1")])
    ec2.delete_tags(Resources=[network.vpc], Tags=[tag("a", "2"), tag("b", "1"), {"Key": "c"}, {"Key": "unknown"}])
    [vpc] = ec2.describe_vpcs(VpcIds=[network.vpc])["Vpcs"]
    assert vpc["Tags"] == [tag("a", "1")]
    assert refused(ec2.delete_tags, Resources=[network.vpc], Tags=[tag("aws:x")]) == "InvalidParameterValue"


def test_deleting_without_naming_any_deletes_all(ec2: Any, network: Network) -> None:
    for resource in (network.vpc, network.subnet):
        ec2.create_tags(Resources=[resource], Tags=[tag("a"), tag("b")])
    ec2.delete_tags(Resources=[network.vpc])
    [vpc] = ec2.describe_vpcs(VpcIds=[network.vpc])["Vpcs"]
    assert vpc.get("Tags", []) == []
    [subnet] = ec2.describe_subnets(SubnetIds=[network.subnet])["Subnets"]
    assert subnet["Tags"] == [tag("a"), tag("b")]


def test_tags_of_every_kind_are_listed(ec2: Any, network: Network) -> None:
    interface = ec2.create_network_interface(SubnetId=network.subnet)["NetworkInterface"]["NetworkInterfaceId"]
    kinds = {
        "vpc": network.vpc,
        "subnet": network.subnet,
        "security-group": network.group,
        "network-interface": interface,
    }
    ec2.create_tags(Resources=list(kinds.values()), Tags=[tag("owner", "me")])
    found = ec2.describe_tags(Filters=[{"Name": "tag:owner", "Values": ["m*"]}])["Tags"]
    assert {each["ResourceType"]: each["ResourceId"] for each in found} == kinds


def test_what_is_gone_has_no_tags(ec2: Any, network: Network) -> None:
    kinds = ("instance", "volume", "network-interface")
    specifications = [{"ResourceType": kind, "Tags": [tag("k")]} for kind in kinds]
    [machine] = ec2.run_instances(**launch_request(network, TagSpecifications=specifications))["Instances"]
    ec2.terminate_instances(InstanceIds=[machine["InstanceId"]])
    assert state(ec2, machine["InstanceId"]) == "terminated"
    permission = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "IpRanges": [{"CidrIp": "192.0.2.0/24"}]}
    rule_tags = [{"ResourceType": "security-group-rule", "Tags": [tag("k")]}]
    ec2.authorize_security_group_ingress(GroupId=network.group, IpPermissions=[permission], TagSpecifications=rule_tags)
    ec2.create_tags(Resources=[network.group], Tags=[tag("k")])
    assert len(ec2.describe_tags()["Tags"]) == 2
    ec2.delete_security_group(GroupId=network.group)
    assert ec2.describe_tags()["Tags"] == []


def test_without_a_tag_named_all_are_deleted(ec2: Any, network: Network) -> None:
    ec2.create_tags(Resources=[network.vpc], Tags=[tag("a"), tag("b")])
    ec2.delete_tags(Resources=[network.vpc])
    assert ec2.describe_vpcs(VpcIds=[network.vpc])["Vpcs"][0].get("Tags", []) == []
