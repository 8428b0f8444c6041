"""Describes: ids, filters with wildcards, pages."""

from __future__ import annotations

from typing import Any

import pytest

from standin.ec2.listings import LISTINGS, RESERVATION_FILTERS
from tests.conftest import IMAGE, Network, launch_request, refused


def snake(action: str) -> str:
    return "".join("_" + each.lower() if each.isupper() else each for each in action).lstrip("_")


def furnish(ec2: Any, network: Network) -> None:
    """One of everything that can be listed."""
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=network.vpc)
    table = ec2.create_route_table(VpcId=network.vpc)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    ec2.associate_route_table(RouteTableId=table, SubnetId=network.subnet)
    ec2.authorize_security_group_ingress(
        GroupId=network.group, IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="192.0.2.0/24"
    )
    ec2.create_network_interface(SubnetId=network.subnet)
    ec2.allocate_address(Domain="vpc")
    ec2.create_key_pair(KeyName="lab")
    ec2.run_instances(
        **launch_request(
            network,
            ClientToken="one",
            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "head"}]}],
        )
    )


TAG_FILTERS = ("tag:Name", "tag-key")
WITHOUT_TAGS = ("DescribeInstanceStatus", "DescribeAvailabilityZones")
EVERY_FILTER = [
    (action, name)
    for action, listing in LISTINGS.items()
    for name in [*listing.filters, *TAG_FILTERS]
    if name not in TAG_FILTERS or action not in WITHOUT_TAGS
] + [("DescribeInstances", name) for name in RESERVATION_FILTERS]


def test_every_filter_of_every_describe_answers(ec2: Any, network: Network) -> None:
    furnish(ec2, network)
    for action, name in EVERY_FILTER:
        describe = getattr(ec2, snake(action))
        listing = LISTINGS[action].result
        assert describe(Filters=[{"Name": name, "Values": ["no such value"]}])[listing] == [], (action, name)


@pytest.mark.parametrize("action", sorted(LISTINGS))
def test_the_filter_by_id_finds_one(ec2: Any, network: Network, action: str) -> None:
    furnish(ec2, network)
    listing, describe = LISTINGS[action], getattr(ec2, snake(action))
    everything = describe()[listing.result]
    assert everything
    for parameter, each in listing.ids.items():
        item = everything[0]["Instances"][0] if action == "DescribeInstances" else everything[0]
        found = describe(**{parameter: [item[each.path]]})[listing.result]
        assert len(found) == 1 or parameter == "GroupNames"
        assert refused(describe, **{parameter: ["vpc-0000000000000000f"]}) == each.code


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["head"], True),
        (["h*d"], True),
        (["h?ad"], True),
        (["?head"], False),
        (["HEAD"], False),
        (["other", "he*"], True),
        (["h\\*d"], False),
        (["hea"], False),
    ],
)
def test_wildcards(ec2: Any, network: Network, values: list[str], found: bool) -> None:
    furnish(ec2, network)
    reservations = ec2.describe_instances(Filters=[{"Name": "tag:Name", "Values": values}])["Reservations"]
    assert bool(reservations) is found


def test_the_client_token_can_be_searched_and_survives_termination(ec2: Any, network: Network) -> None:
    request = launch_request(network, ClientToken="lab-1-head")
    machine = ec2.run_instances(**request)["Instances"][0]["InstanceId"]
    ec2.terminate_instances(InstanceIds=[machine])
    for value in ("lab-1-head", "lab-*", "lab-?-head"):
        [reservation] = ec2.describe_instances(Filters=[{"Name": "client-token", "Values": [value]}])["Reservations"]
        assert reservation["Instances"][0]["ClientToken"] == "lab-1-head"
        assert reservation["Instances"][0]["State"]["Name"] == "terminated"


def test_unknown_filters_are_refused(ec2: Any) -> None:
    for action in LISTINGS:
        wrong = [{"Name": "no-such-filter", "Values": ["x"]}]
        assert refused(getattr(ec2, snake(action)), Filters=wrong) == "InvalidParameterValue"


def test_a_reservation_shows_only_the_instances_asked_for(ec2: Any, network: Network) -> None:
    ids = [
        each["InstanceId"] for each in ec2.run_instances(**launch_request(network, MinCount=3, MaxCount=3))["Instances"]
    ]
    [reservation] = ec2.describe_instances(InstanceIds=[ids[1]])["Reservations"]
    assert [each["InstanceId"] for each in reservation["Instances"]] == [ids[1]]
    [reservation] = ec2.describe_instances()["Reservations"]
    assert [each["InstanceId"] for each in reservation["Instances"]] == ids


def test_pages_of_instances(ec2: Any, network: Network) -> None:
    ec2.run_instances(**launch_request(network, MinCount=12, MaxCount=12))
    seen: list[str] = []
    sizes, token = [], None
    while True:
        page = ec2.describe_instances(MaxResults=5, **({"NextToken": token} if token else {}))
        ids = [each["InstanceId"] for reservation in page["Reservations"] for each in reservation["Instances"]]
        seen += ids
        sizes.append(len(ids))
        token = page.get("NextToken")
        if not token:
            break
    assert sizes == [5, 5, 2]
    assert len(set(seen)) == 12


@pytest.mark.parametrize(
    ("describe", "listing", "create"),
    [
        ("describe_vpcs", "Vpcs", lambda ec2, _: ec2.create_vpc(CidrBlock="10.0.0.0/16")),
        ("describe_internet_gateways", "InternetGateways", lambda ec2, _: ec2.create_internet_gateway()),
        ("describe_route_tables", "RouteTables", lambda ec2, net: ec2.create_route_table(VpcId=net.vpc)),
        (
            "describe_network_interfaces",
            "NetworkInterfaces",
            lambda ec2, net: ec2.create_network_interface(SubnetId=net.subnet),
        ),
        ("describe_volumes", "Volumes", lambda ec2, _: ec2.create_volume(Size=1, AvailabilityZone="ap-southeast-1a")),
    ],
)
def test_pages_of_the_others(ec2: Any, network: Network, describe: str, listing: str, create: Any) -> None:
    for _ in range(6):
        create(ec2, network)
    everything = getattr(ec2, describe)()[listing]
    pages = list(ec2.get_paginator(describe).paginate(PaginationConfig={"PageSize": 5}))
    assert len(pages) > 1
    assert [item for page in pages for item in page[listing]] == everything


def test_what_vanishes_between_pages_hides_nothing_else(ec2: Any) -> None:
    gateways = [ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"] for _ in range(10)]
    first = ec2.describe_internet_gateways(MaxResults=5)
    shown = [each["InternetGatewayId"] for each in first["InternetGateways"]]
    ec2.delete_internet_gateway(InternetGatewayId=shown[0])
    second = ec2.describe_internet_gateways(MaxResults=100, NextToken=first["NextToken"])
    shown += [each["InternetGatewayId"] for each in second["InternetGateways"]]
    assert set(gateways) <= set(shown)


def test_wrong_pages_are_refused(ec2: Any, network: Network) -> None:
    assert refused(ec2.describe_instances, MaxResults=4) == "InvalidParameterValue"
    assert refused(ec2.describe_vpcs, MaxResults=1001) == "InvalidParameterValue"
    assert refused(ec2.describe_instances, NextToken="nonsense") == "InvalidNextToken"
    machine = ec2.run_instances(**launch_request(network))["Instances"][0]["InstanceId"]
    code = refused(ec2.describe_instances, MaxResults=5, InstanceIds=[machine])
    assert code == "InvalidParameterCombination"


def test_a_token_belongs_to_its_describe(ec2: Any) -> None:
    for _ in range(6):
        ec2.create_vpc(CidrBlock="10.0.0.0/16")
    token = ec2.describe_vpcs(MaxResults=5)["NextToken"]
    assert refused(ec2.describe_subnets, MaxResults=5, NextToken=token) == "InvalidNextToken"


def test_images_by_owner_and_name(ec2: Any) -> None:
    found = ec2.describe_images(Owners=["099720109477"], Filters=[{"Name": "name", "Values": ["*ubuntu-jammy*amd64*"]}])
    images = {each["ImageId"]: each for each in found["Images"]}
    assert images[IMAGE]["RootDeviceName"] == "/dev/sda1"
    assert {each["OwnerId"] for each in images.values()} == {"099720109477"}
