"""VPC, subnet, gateway, routes, groups: what cannot be made, changed or deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import REGION, Network, StandIn, refused, state

Launch = Callable[..., list[str]]

SSH = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "192.0.2.0/24"}]}
UNKNOWN = "0123456789abcdef0"


class Attached:
    """An internet gateway of the network, with a route table that leads to it."""

    def __init__(self, ec2: Any, network: Network) -> None:
        self.gateway: str = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=self.gateway, VpcId=network.vpc)
        self.table: str = ec2.create_route_table(VpcId=network.vpc)["RouteTable"]["RouteTableId"]
        ec2.create_route(RouteTableId=self.table, DestinationCidrBlock="0.0.0.0/0", GatewayId=self.gateway)
        self.association: str = ec2.associate_route_table(RouteTableId=self.table, SubnetId=network.subnet)[
            "AssociationId"
        ]


@pytest.fixture
def attached(ec2: Any, network: Network) -> Attached:
    """The network's way to the internet."""
    return Attached(ec2, network)


def main_table(ec2: Any, network: Network) -> dict[str, Any]:
    filters = [{"Name": "vpc-id", "Values": [network.vpc]}, {"Name": "association.main", "Values": ["true"]}]
    [table] = ec2.describe_route_tables(Filters=filters)["RouteTables"]
    found: dict[str, Any] = table
    return found


def test_a_vpc_is_deleted_with_what_came_with_it(ec2: Any, network: Network, attached: Attached) -> None:
    blocked: list[Callable[[], Any]] = [
        lambda: ec2.disassociate_route_table(AssociationId=attached.association),
        lambda: ec2.delete_route_table(RouteTableId=attached.table),
        lambda: ec2.detach_internet_gateway(InternetGatewayId=attached.gateway, VpcId=network.vpc),
        lambda: ec2.delete_subnet(SubnetId=network.subnet),
        lambda: ec2.delete_security_group(GroupId=network.group),
    ]
    for remove in blocked:
        assert refused(ec2.delete_vpc, VpcId=network.vpc) == "DependencyViolation"
        remove()
    ec2.delete_vpc(VpcId=network.vpc)
    inside = [{"Name": "vpc-id", "Values": [network.vpc]}]
    assert ec2.describe_security_groups(Filters=inside)["SecurityGroups"] == []
    assert ec2.describe_route_tables(Filters=inside)["RouteTables"] == []
    assert ec2.describe_network_acls(Filters=inside)["NetworkAcls"] == []
    assert refused(ec2.delete_vpc, VpcId=network.vpc) == "InvalidVpcID.NotFound"


def test_a_subnet_with_instances_or_interfaces_stays(ec2: Any, network: Network, launch: Launch) -> None:
    [machine] = launch()
    delete = ec2.delete_subnet
    assert refused(delete, SubnetId=network.subnet) == "DependencyViolation"
    ec2.terminate_instances(InstanceIds=[machine])
    assert state(ec2, machine) == "terminated"
    interface = ec2.create_network_interface(SubnetId=network.subnet)["NetworkInterface"]["NetworkInterfaceId"]
    assert refused(delete, SubnetId=network.subnet) == "DependencyViolation"
    ec2.delete_network_interface(NetworkInterfaceId=interface)
    delete(SubnetId=network.subnet)


def test_a_subnet_takes_its_association_along(ec2: Any, network: Network, attached: Attached) -> None:
    assert refused(ec2.delete_route_table, RouteTableId=attached.table) == "DependencyViolation"
    ec2.delete_subnet(SubnetId=network.subnet)
    [table] = ec2.describe_route_tables(RouteTableIds=[attached.table])["RouteTables"]
    assert table["Associations"] == []
    ec2.delete_route_table(RouteTableId=attached.table)


def test_a_group_in_use_stays(standin: StandIn, ec2: Any, network: Network, launch: Launch) -> None:
    [machine] = launch()
    delete = ec2.delete_security_group
    assert refused(delete, GroupId=network.group) == "DependencyViolation"
    standin.settings(shutting_down_seconds=60)
    ec2.terminate_instances(InstanceIds=[machine])
    assert refused(delete, GroupId=network.group) == "DependencyViolation"


def test_a_group_named_by_another_stays(ec2: Any, network: Network) -> None:
    other = ec2.create_security_group(VpcId=network.vpc, GroupName="other", Description="x")["GroupId"]
    pairs = [{"GroupId": network.group}]
    for group in (network.group, other):
        permission = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "UserIdGroupPairs": pairs}
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])
    assert refused(ec2.delete_security_group, GroupId=network.group) == "DependencyViolation"
    ec2.delete_security_group(GroupId=other)
    ec2.delete_security_group(GroupId=network.group)
    assert refused(ec2.delete_security_group, GroupId=network.group) == "InvalidGroup.NotFound"


def test_the_default_group_cannot_be_deleted(ec2: Any, network: Network) -> None:
    filters = [{"Name": "vpc-id", "Values": [network.vpc]}, {"Name": "group-name", "Values": ["default"]}]
    [group] = ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
    assert refused(ec2.delete_security_group, GroupId=group["GroupId"]) == "CannotDelete"


def test_a_new_group_allows_all_egress(ec2: Any, network: Network) -> None:
    [group] = ec2.describe_security_groups(GroupIds=[network.group])["SecurityGroups"]
    assert group["IpPermissions"] == []
    [egress] = group["IpPermissionsEgress"]
    assert (egress["IpProtocol"], egress["IpRanges"]) == ("-1", [{"CidrIp": "0.0.0.0/0"}])


@pytest.mark.parametrize(
    ("name", "code"),
    [("sg-mine", "InvalidParameterValue"), ("default", "InvalidGroup.Reserved"), ("lab", "InvalidGroup.Duplicate")],
)
def test_group_names(ec2: Any, network: Network, name: str, code: str) -> None:
    create = ec2.create_security_group
    assert refused(create, VpcId=network.vpc, GroupName=name, Description="x") == code


def test_rules(ec2: Any, network: Network) -> None:
    authorize, revoke = ec2.authorize_security_group_ingress, ec2.revoke_security_group_ingress
    tags = [{"ResourceType": "security-group-rule", "Tags": [{"Key": "a", "Value": "b"}]}]
    [rule] = authorize(GroupId=network.group, IpPermissions=[SSH], TagSpecifications=tags)["SecurityGroupRules"]
    assert refused(authorize, GroupId=network.group, IpPermissions=[SSH]) == "InvalidPermission.Duplicate"
    backwards = {**SSH, "FromPort": 23}
    assert refused(authorize, GroupId=network.group, IpPermissions=[backwards]) == "InvalidParameterValue"
    malformed = {**SSH, "IpRanges": [{"CidrIp": "192.0.2.0"}]}
    assert refused(authorize, GroupId=network.group, IpPermissions=[malformed]) == "InvalidParameterValue"
    found = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [network.group]}])
    assert rule["SecurityGroupRuleId"] in {each["SecurityGroupRuleId"] for each in found["SecurityGroupRules"]}
    revoke(GroupId=network.group, SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])
    gone = {"GroupId": network.group, "SecurityGroupRuleIds": [rule["SecurityGroupRuleId"]]}
    assert refused(revoke, **gone) == "InvalidSecurityGroupRuleId.NotFound"
    assert refused(revoke, GroupId=network.group, IpPermissions=[SSH]) == "InvalidPermission.NotFound"


def test_cidrs_are_made_canonical(ec2: Any, network: Network) -> None:
    assert ec2.create_vpc(CidrBlock="10.7.0.9/16")["Vpc"]["CidrBlock"] == "10.7.0.0/16"
    subnet = ec2.create_subnet(VpcId=network.vpc, CidrBlock="10.0.9.9/24")["Subnet"]
    assert subnet["CidrBlock"] == "10.0.9.0/24"
    rule = {**SSH, "IpRanges": [{"CidrIp": "192.0.2.77/24"}]}
    ec2.authorize_security_group_ingress(GroupId=network.group, IpPermissions=[rule])
    [group] = ec2.describe_security_groups(GroupIds=[network.group])["SecurityGroups"]
    assert group["IpPermissions"][0]["IpRanges"] == [{"CidrIp": "192.0.2.0/24"}]
    authorize = ec2.authorize_security_group_ingress
    assert refused(authorize, GroupId=network.group, IpPermissions=[SSH]) == "InvalidPermission.Duplicate"


@pytest.mark.parametrize(
    ("cidr", "code"),
    [
        ("10.0.0.0/8", "InvalidVpc.Range"),
        ("10.0.0.0/29", "InvalidVpc.Range"),
        ("10.0.0/16", "InvalidParameterValue"),
        ("ten", "InvalidParameterValue"),
    ],
)
def test_cidrs_of_vpcs(ec2: Any, cidr: str, code: str) -> None:
    assert refused(ec2.create_vpc, CidrBlock=cidr) == code


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"CidrBlock": "10.1.0.0/24"}, "InvalidSubnet.Range"),
        ({"CidrBlock": "10.0.1.128/25"}, "InvalidSubnet.Conflict"),
        ({"CidrBlock": "10.0.2.0/24", "AvailabilityZone": "us-east-1a"}, "InvalidParameterValue"),
        ({"CidrBlock": "10.0.2.0/24", "VpcId": f"vpc-{UNKNOWN}"}, "InvalidVpcID.NotFound"),
    ],
)
def test_subnets_that_cannot_be(ec2: Any, network: Network, request_: dict[str, str], code: str) -> None:
    assert refused(ec2.create_subnet, **{"VpcId": network.vpc, **request_}) == code


def test_dns_attributes(ec2: Any, network: Network) -> None:
    def attributes() -> tuple[bool, bool]:
        described = [
            ec2.describe_vpc_attribute(VpcId=network.vpc, Attribute=name)
            for name in ("enableDnsSupport", "enableDnsHostnames")
        ]
        return described[0]["EnableDnsSupport"]["Value"], described[1]["EnableDnsHostnames"]["Value"]

    assert attributes() == (True, False)
    ec2.modify_vpc_attribute(VpcId=network.vpc, EnableDnsHostnames={"Value": True})
    assert attributes() == (True, True)
    ec2.modify_vpc_attribute(VpcId=network.vpc, EnableDnsSupport={"Value": False})
    assert attributes() == (False, True)


def test_a_gateway_with_mapped_addresses_stays(ec2: Any, network: Network, attached: Attached, launch: Launch) -> None:
    detach = {"InternetGatewayId": attached.gateway, "VpcId": network.vpc}
    ec2.modify_subnet_attribute(SubnetId=network.subnet, MapPublicIpOnLaunch={"Value": True})
    [machine] = launch()
    assert state(ec2, machine) == "running"
    assert refused(ec2.detach_internet_gateway, **detach) == "DependencyViolation"
    ec2.stop_instances(InstanceIds=[machine])
    elastic = ec2.allocate_address(Domain="vpc")["AllocationId"]
    association = ec2.associate_address(AllocationId=elastic, InstanceId=machine)["AssociationId"]
    assert refused(ec2.detach_internet_gateway, **detach) == "DependencyViolation"
    ec2.disassociate_address(AssociationId=association)
    assert refused(ec2.delete_internet_gateway, InternetGatewayId=attached.gateway) == "DependencyViolation"
    ec2.detach_internet_gateway(**detach)
    assert refused(ec2.detach_internet_gateway, **detach) == "Gateway.NotAttached"
    ec2.delete_internet_gateway(InternetGatewayId=attached.gateway)
    gone = {"InternetGatewayId": attached.gateway}
    assert refused(ec2.delete_internet_gateway, **gone) == "InvalidInternetGatewayID.NotFound"


def test_one_gateway_for_one_network(ec2: Any, network: Network, attached: Attached) -> None:
    attach, other = ec2.attach_internet_gateway, Network(ec2)
    again = {"InternetGatewayId": attached.gateway, "VpcId": other.vpc}
    assert refused(attach, **again) == "Resource.AlreadyAssociated"
    second = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    assert refused(attach, InternetGatewayId=second, VpcId=network.vpc) == "InvalidParameterValue"


def test_the_main_route_table_stays(ec2: Any, network: Network) -> None:
    table = main_table(ec2, network)
    association = table["Associations"][0]["RouteTableAssociationId"]
    assert refused(ec2.delete_route_table, RouteTableId=table["RouteTableId"]) == "DependencyViolation"
    assert refused(ec2.disassociate_route_table, AssociationId=association) == "InvalidParameterValue"


def test_a_subnet_has_one_route_table(ec2: Any, network: Network, attached: Attached) -> None:
    associate = ec2.associate_route_table
    again = associate(RouteTableId=attached.table, SubnetId=network.subnet)["AssociationId"]
    assert again == attached.association
    other = ec2.create_route_table(VpcId=network.vpc)["RouteTable"]["RouteTableId"]
    assert refused(associate, RouteTableId=other, SubnetId=network.subnet) == "Resource.AlreadyAssociated"
    foreign = ec2.create_route_table(VpcId=Network(ec2).vpc)["RouteTable"]["RouteTableId"]
    assert refused(associate, RouteTableId=foreign, SubnetId=network.subnet) == "InvalidParameterValue"
    unknown = f"rtbassoc-{UNKNOWN}"
    assert refused(ec2.disassociate_route_table, AssociationId=unknown) == "InvalidAssociationID.NotFound"


def test_routes(ec2: Any, network: Network, attached: Attached) -> None:
    route = {"RouteTableId": attached.table, "DestinationCidrBlock": "0.0.0.0/0"}
    assert refused(ec2.create_route, GatewayId=attached.gateway, **route) == "RouteAlreadyExists"
    loose = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    assert refused(ec2.replace_route, GatewayId=loose, **route) == "InvalidParameterValue"
    assert refused(ec2.replace_route, GatewayId=f"igw-{UNKNOWN}", **route) == "InvalidGatewayID.NotFound"
    local = {"RouteTableId": attached.table, "DestinationCidrBlock": "10.0.0.0/16"}
    assert refused(ec2.delete_route, **local) == "InvalidParameterValue"
    ec2.delete_route(**route)
    assert refused(ec2.delete_route, **route) == "InvalidRoute.NotFound"
    assert refused(ec2.replace_route, GatewayId=attached.gateway, **route) == "InvalidParameterValue"


def test_a_route_to_a_detached_gateway_is_a_black_hole(ec2: Any, network: Network, attached: Attached) -> None:
    def states() -> dict[str, str]:
        [table] = ec2.describe_route_tables(RouteTableIds=[attached.table])["RouteTables"]
        return {each["DestinationCidrBlock"]: each["State"] for each in table["Routes"]}

    assert states() == {"10.0.0.0/16": "active", "0.0.0.0/0": "active"}
    ec2.detach_internet_gateway(InternetGatewayId=attached.gateway, VpcId=network.vpc)
    assert states() == {"10.0.0.0/16": "active", "0.0.0.0/0": "blackhole"}


@pytest.mark.parametrize(
    ("action", "parameters", "code"),
    [
        ("delete_subnet", {"SubnetId": f"subnet-{UNKNOWN}"}, "InvalidSubnetID.NotFound"),
        ("delete_route_table", {"RouteTableId": f"rtb-{UNKNOWN}"}, "InvalidRouteTableID.NotFound"),
        ("delete_security_group", {"GroupId": f"sg-{UNKNOWN}"}, "InvalidGroup.NotFound"),
        ("delete_volume", {"VolumeId": f"vol-{UNKNOWN}"}, "InvalidVolume.NotFound"),
        (
            "modify_subnet_attribute",
            {"SubnetId": f"subnet-{UNKNOWN}", "MapPublicIpOnLaunch": {"Value": True}},
            "InvalidSubnetID.NotFound",
        ),
        (
            "modify_vpc_attribute",
            {"VpcId": f"vpc-{UNKNOWN}", "EnableDnsSupport": {"Value": True}},
            "InvalidVpcID.NotFound",
        ),
        ("create_route_table", {"VpcId": f"vpc-{UNKNOWN}"}, "InvalidVpcID.NotFound"),
    ],
)
def test_unknown_ids(ec2: Any, action: str, parameters: dict[str, Any], code: str) -> None:
    assert refused(getattr(ec2, action), **parameters) == code


def test_a_volume_in_use_stays(ec2: Any, launch: Launch) -> None:
    [machine] = launch()
    attached = [{"Name": "attachment.instance-id", "Values": [machine]}]
    [volume] = ec2.describe_volumes(Filters=attached)["Volumes"]
    assert refused(ec2.delete_volume, VolumeId=volume["VolumeId"]) == "VolumeInUse"


ED25519 = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJiGF1OaeFYPTMfsxzDRKtNSCPtAROU9lqpV39NyFEMi test"


def test_key_pairs(ec2: Any) -> None:
    ec2.create_key_pair(KeyName="lab", KeyType="ed25519")
    assert refused(ec2.create_key_pair, KeyName="lab") == "InvalidKeyPair.Duplicate"
    assert refused(ec2.import_key_pair, KeyName="lab", PublicKeyMaterial=b"x") == "InvalidKeyPair.Duplicate"
    assert refused(ec2.import_key_pair, KeyName="other", PublicKeyMaterial=b"nonsense") == "InvalidKey.Format"
    by_id = ec2.import_key_pair(KeyName="by-id", PublicKeyMaterial=ED25519)["KeyPairId"]
    ec2.delete_key_pair(KeyPairId=by_id)
    ec2.delete_key_pair(KeyPairId="key-0123456789abcdef0")
    assert [pair["KeyName"] for pair in ec2.describe_key_pairs()["KeyPairs"]] == ["lab"]
    ec2.delete_key_pair(KeyName="lab")
    ec2.delete_key_pair(KeyName="lab")
    assert refused(ec2.describe_key_pairs, KeyNames=["lab"]) == "InvalidKeyPair.NotFound"


def test_dry_runs_change_nothing(ec2: Any, network: Network, launch: Launch) -> None:
    [machine] = launch()
    dry: dict[str, dict[str, Any]] = {
        "create_vpc": {"CidrBlock": "10.0.0.0/16"},
        "create_subnet": {"VpcId": network.vpc, "CidrBlock": "10.0.4.0/24"},
        "create_internet_gateway": {},
        "create_security_group": {"VpcId": network.vpc, "GroupName": "new", "Description": "x"},
        "authorize_security_group_ingress": {"GroupId": network.group, "IpPermissions": [SSH]},
        "create_tags": {"Resources": [network.vpc], "Tags": [{"Key": "a", "Value": "b"}]},
        "terminate_instances": {"InstanceIds": [machine]},
        "stop_instances": {"InstanceIds": [machine]},
        "allocate_address": {"Domain": "vpc"},
        "create_key_pair": {"KeyName": "new"},
        "describe_vpcs": {},
    }

    def everything() -> Any:
        return [
            ec2.describe_vpcs()["Vpcs"],
            ec2.describe_subnets()["Subnets"],
            ec2.describe_internet_gateways()["InternetGateways"],
            ec2.describe_security_groups()["SecurityGroups"],
            ec2.describe_instances()["Reservations"],
            ec2.describe_addresses()["Addresses"],
            ec2.describe_key_pairs()["KeyPairs"],
        ]

    assert state(ec2, machine) == "running"
    before = everything()
    for action, parameters in dry.items():
        assert refused(getattr(ec2, action), DryRun=True, **parameters) == "DryRunOperation", action
    assert everything() == before
    assert refused(ec2.delete_subnet, SubnetId=network.subnet, DryRun=True) == "DependencyViolation"


def test_zones_of_the_region(ec2: Any) -> None:
    zones = {each["ZoneName"] for each in ec2.describe_availability_zones()["AvailabilityZones"]}
    assert zones == {f"{REGION}{each}" for each in "abc"}
