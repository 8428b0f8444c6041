"""Private, automatic public and elastic addresses, and the interfaces that have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Network, StandIn, instance, launch_request, refused, state

Launch = Callable[..., list[str]]


@pytest.fixture
def gateway(ec2: Any, network: Network) -> str:
    """An internet gateway attached to the network."""
    made = str(ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"])
    ec2.attach_internet_gateway(InternetGatewayId=made, VpcId=network.vpc)
    return made


def public(network: Network, **more: Any) -> dict[str, Any]:
    interface = {
        "DeviceIndex": 0,
        "SubnetId": network.subnet,
        "Groups": [network.group],
        "AssociatePublicIpAddress": True,
        **more,
    }
    return {"SubnetId": None, "SecurityGroupIds": None, "NetworkInterfaces": [interface]}


def test_a_private_address_can_be_chosen_and_is_held(ec2: Any, network: Network, launch: Launch) -> None:
    [machine] = launch(PrivateIpAddress="10.0.1.10")
    assert instance(ec2, machine)["PrivateIpAddress"] == "10.0.1.10"
    again = launch_request(network, PrivateIpAddress="10.0.1.10")
    assert refused(ec2.run_instances, **again) == "InvalidIPAddress.InUse"
    create = ec2.create_network_interface
    assert refused(create, SubnetId=network.subnet, PrivateIpAddress="10.0.1.10") == "InvalidIPAddress.InUse"
    assert refused(create, SubnetId=network.subnet, PrivateIpAddress="10.9.1.10") == "InvalidParameterValue"
    ec2.stop_instances(InstanceIds=[machine])
    assert refused(ec2.run_instances, **again) == "InvalidIPAddress.InUse"
    ec2.terminate_instances(InstanceIds=[machine])
    assert state(ec2, machine) == "terminated"
    [machine] = launch(PrivateIpAddress="10.0.1.10")
    assert instance(ec2, machine)["PrivateIpAddress"] == "10.0.1.10"


def test_drawn_addresses_avoid_used_ones(ec2: Any, network: Network, launch: Launch) -> None:
    ec2.create_network_interface(SubnetId=network.subnet, PrivateIpAddress="10.0.1.5")
    addresses = [instance(ec2, machine)["PrivateIpAddress"] for machine in launch(MaxCount=4)]
    assert addresses == ["10.0.1.4", "10.0.1.6", "10.0.1.7", "10.0.1.8"]


def test_a_full_subnet(ec2: Any, network: Network, launch: Launch) -> None:
    small = ec2.create_subnet(VpcId=network.vpc, CidrBlock="10.0.2.0/28", AvailabilityZone="ap-southeast-1a")
    subnet = small["Subnet"]["SubnetId"]
    assert len(launch(SubnetId=subnet, MinCount=9, MaxCount=9)) == 9
    # As with capacity, a launch gets what there is, if that is at least MinCount.
    assert len(launch(SubnetId=subnet, MinCount=1, MaxCount=5)) == 2
    request = launch_request(network, SubnetId=subnet)
    assert refused(ec2.run_instances, **request) == "InsufficientFreeAddressesInSubnet"
    [described] = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"]
    assert described["AvailableIpAddressCount"] == 0


@pytest.mark.parametrize(
    ("mapped", "asked", "expected"), [(True, None, True), (False, True, True), (True, False, False)]
)
def test_who_gets_a_public_address(
    ec2: Any, network: Network, launch: Launch, mapped: bool, asked: bool | None, expected: bool
) -> None:
    ec2.modify_subnet_attribute(SubnetId=network.subnet, MapPublicIpOnLaunch={"Value": mapped})
    [machine] = launch() if asked is None else launch(**public(network, AssociatePublicIpAddress=asked))
    assert state(ec2, machine) == "running"
    assert ("PublicIpAddress" in instance(ec2, machine)) is expected


def test_an_interface_made_beforehand_gets_no_public_address(ec2: Any, network: Network, launch: Launch) -> None:
    ec2.modify_subnet_attribute(SubnetId=network.subnet, MapPublicIpOnLaunch={"Value": True})
    made = ec2.create_network_interface(SubnetId=network.subnet)["NetworkInterface"]["NetworkInterfaceId"]
    [machine] = launch(
        SubnetId=None, SecurityGroupIds=None, NetworkInterfaces=[{"DeviceIndex": 0, "NetworkInterfaceId": made}]
    )
    assert state(ec2, machine) == "running"
    assert "PublicIpAddress" not in instance(ec2, machine)
    used = {"NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": made}]}
    request = launch_request(network, SubnetId=None, SecurityGroupIds=None, **used)
    assert refused(ec2.run_instances, **request) == "InvalidNetworkInterface.InUse"
    ec2.terminate_instances(InstanceIds=[machine])
    assert state(ec2, machine) == "terminated"
    [left] = ec2.describe_network_interfaces(NetworkInterfaceIds=[made])["NetworkInterfaces"]
    assert left["Status"] == "available"


def test_public_addresses_change_at_stop_and_start(ec2: Any, network: Network, launch: Launch) -> None:
    [machine] = launch(**public(network))
    assert state(ec2, machine) == "running"
    before = instance(ec2, machine)
    ec2.stop_instances(InstanceIds=[machine])
    stopped = instance(ec2, machine)
    assert "PublicIpAddress" not in stopped
    assert stopped["PrivateIpAddress"] == before["PrivateIpAddress"]
    ec2.start_instances(InstanceIds=[machine])
    assert state(ec2, machine) == "running"
    after = instance(ec2, machine)
    assert after["PublicIpAddress"] != before["PublicIpAddress"]
    assert after["PrivateIpAddress"] == before["PrivateIpAddress"]


def test_an_elastic_address_stays(ec2: Any, network: Network, launch: Launch, gateway: str) -> None:
    [machine] = launch(**public(network))
    assert state(ec2, machine) == "running"
    elastic = ec2.allocate_address(Domain="vpc")
    association = ec2.associate_address(AllocationId=elastic["AllocationId"], InstanceId=machine)["AssociationId"]
    assert instance(ec2, machine)["PublicIpAddress"] == elastic["PublicIp"]
    ec2.stop_instances(InstanceIds=[machine])
    assert instance(ec2, machine)["PublicIpAddress"] == elastic["PublicIp"]
    ec2.start_instances(InstanceIds=[machine])
    assert state(ec2, machine) == "running"
    assert instance(ec2, machine)["PublicIpAddress"] == elastic["PublicIp"]
    [described] = ec2.describe_addresses(AllocationIds=[elastic["AllocationId"]])["Addresses"]
    assert (described["InstanceId"], described["AssociationId"]) == (machine, association)
    assert refused(ec2.release_address, AllocationId=elastic["AllocationId"]) == "InvalidIPAddress.InUse"
    ec2.terminate_instances(InstanceIds=[machine])
    assert state(ec2, machine) == "terminated"
    [described] = ec2.describe_addresses(AllocationIds=[elastic["AllocationId"]])["Addresses"]
    assert "AssociationId" not in described
    ec2.release_address(AllocationId=elastic["AllocationId"])
    assert refused(ec2.release_address, AllocationId=elastic["AllocationId"]) == "InvalidAllocationID.NotFound"


def test_an_elastic_address_moves(ec2: Any, launch: Launch, gateway: str) -> None:
    first, second = launch(MaxCount=2)
    assert state(ec2, second) == "running"
    elastic = ec2.allocate_address(Domain="vpc")
    associate = ec2.associate_address
    associate(AllocationId=elastic["AllocationId"], InstanceId=first)
    fixed = {"AllocationId": elastic["AllocationId"], "AllowReassociation": False}
    assert refused(associate, InstanceId=second, **fixed) == "Resource.AlreadyAssociated"
    interface = instance(ec2, second)["NetworkInterfaces"][0]["NetworkInterfaceId"]
    moved = associate(AllocationId=elastic["AllocationId"], NetworkInterfaceId=interface)["AssociationId"]
    assert "PublicIpAddress" not in instance(ec2, first)
    assert instance(ec2, second)["PublicIpAddress"] == elastic["PublicIp"]
    [described] = ec2.describe_addresses(Filters=[{"Name": "instance-id", "Values": [second]}])["Addresses"]
    assert described["AssociationId"] == moved
    ec2.disassociate_address(AssociationId=moved)
    assert "PublicIpAddress" not in instance(ec2, second)
    assert refused(ec2.disassociate_address, AssociationId=moved) == "InvalidAssociationID.NotFound"


def test_a_second_elastic_address_takes_the_place_of_the_first(ec2: Any, launch: Launch, gateway: str) -> None:
    [machine] = launch()
    assert state(ec2, machine) == "running"
    first, second = ec2.allocate_address(Domain="vpc"), ec2.allocate_address(Domain="vpc")
    for each in (first, second):
        ec2.associate_address(AllocationId=each["AllocationId"], InstanceId=machine)
    assert instance(ec2, machine)["PublicIpAddress"] == second["PublicIp"]
    [described] = ec2.describe_addresses(AllocationIds=[first["AllocationId"]])["Addresses"]
    assert "AssociationId" not in described
    ec2.release_address(AllocationId=first["AllocationId"])
    assert instance(ec2, machine)["PublicIpAddress"] == second["PublicIp"]


def test_elastic_addresses_need_a_gateway_and_no_pending_instance(
    standin: StandIn, ec2: Any, network: Network, launch: Launch
) -> None:
    standin.settings(pending_seconds=60)
    [pending] = launch()
    standin.settings(pending_seconds=0)
    [machine] = launch()
    elastic = ec2.allocate_address(Domain="vpc")["AllocationId"]
    associate = ec2.associate_address
    assert refused(associate, AllocationId=elastic, InstanceId=machine) == "Gateway.NotAttached"
    assert refused(associate, AllocationId=elastic, InstanceId=pending) == "InvalidInstanceID"
    assert refused(associate, AllocationId=elastic) == "MissingParameter"
    unknown = "eipalloc-0123456789abcdef0"
    assert refused(associate, AllocationId=unknown, InstanceId=machine) == "InvalidAllocationID.NotFound"


def test_public_addresses_are_public_and_all_different(ec2: Any, network: Network, launch: Launch) -> None:
    launch(MaxCount=20, **public(network))
    reservations = ec2.describe_instances()["Reservations"]
    addresses = [each["PublicIpAddress"] for reservation in reservations for each in reservation["Instances"]]
    addresses += [ec2.allocate_address(Domain="vpc")["PublicIp"] for _ in range(5)]
    assert len(set(addresses)) == 25
    assert not [each for each in addresses if each.startswith(("127.", "10."))]


def test_the_interface_of_a_launch_ends_with_it(ec2: Any, launch: Launch) -> None:
    [machine] = launch(TagSpecifications=[{"ResourceType": "network-interface", "Tags": [{"Key": "a", "Value": "b"}]}])
    [interface] = ec2.describe_network_interfaces(Filters=[{"Name": "attachment.instance-id", "Values": [machine]}])[
        "NetworkInterfaces"
    ]
    assert interface["TagSet"] == [{"Key": "a", "Value": "b"}]
    assert interface["Attachment"]["DeleteOnTermination"] is True
    assert interface["Status"] == "in-use"
    ec2.terminate_instances(InstanceIds=[machine])
    assert state(ec2, machine) == "terminated"
    assert ec2.describe_network_interfaces()["NetworkInterfaces"] == []


def test_an_interface_that_should_stay_stays(ec2: Any, network: Network, launch: Launch) -> None:
    [machine] = launch(**public(network, DeleteOnTermination=False))
    ec2.terminate_instances(InstanceIds=[machine])
    assert state(ec2, machine) == "terminated"
    [interface] = ec2.describe_network_interfaces()["NetworkInterfaces"]
    assert (interface["Status"], "Attachment" in interface) == ("available", False)


def test_attaching_and_detaching(ec2: Any, network: Network, launch: Launch) -> None:
    [machine] = launch()
    assert state(ec2, machine) == "running"
    primary = instance(ec2, machine)["NetworkInterfaces"][0]
    attachment = primary["Attachment"]["AttachmentId"]
    assert refused(ec2.detach_network_interface, AttachmentId=attachment) == "OperationNotPermitted"
    delete = ec2.delete_network_interface
    assert refused(delete, NetworkInterfaceId=primary["NetworkInterfaceId"]) == "InvalidParameterValue"
    second = ec2.create_network_interface(SubnetId=network.subnet)["NetworkInterface"]["NetworkInterfaceId"]
    attach = ec2.attach_network_interface
    wish = {"NetworkInterfaceId": second, "InstanceId": machine}
    assert refused(attach, DeviceIndex=0, **wish) == "InvalidParameterValue"
    attached = attach(DeviceIndex=1, **wish)["AttachmentId"]
    assert refused(attach, DeviceIndex=2, **wish) == "InvalidParameterValue"
    assert refused(delete, NetworkInterfaceId=second) == "InvalidParameterValue"
    ec2.detach_network_interface(AttachmentId=attached)
    delete(NetworkInterfaceId=second)
    assert refused(delete, NetworkInterfaceId=second) == "InvalidNetworkInterfaceID.NotFound"


def test_interfaces_refuse_foreign_groups(ec2: Any, network: Network) -> None:
    create = ec2.create_network_interface
    foreign = Network(ec2).group
    assert refused(create, SubnetId=network.subnet, Groups=[foreign]) == "InvalidParameter"
    assert refused(create, SubnetId=network.subnet, Groups=["sg-0123456789abcdef0"]) == "InvalidGroup.NotFound"


def test_an_automatic_address_is_amazons(ec2: Any, network: Network, gateway: str, launch: Launch) -> None:
    def owner(machine: str) -> Any:
        return instance(ec2, machine)["NetworkInterfaces"][0]["Association"]["IpOwnerId"]

    [machine] = launch(**public(network))
    assert state(ec2, machine) == "running"
    assert owner(machine) == "amazon"
    elastic = ec2.allocate_address(Domain="vpc")["AllocationId"]
    association = ec2.associate_address(AllocationId=elastic, InstanceId=machine)["AssociationId"]
    assert owner(machine) == "123456789012"
    ec2.disassociate_address(AssociationId=association)
    assert owner(machine) == "amazon"
