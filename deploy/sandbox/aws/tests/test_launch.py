"""What RunInstances refuses, how many it launches, and what a launched instance looks like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS

from tests.conftest import IMAGE, REGION, Network, StandIn, instance, launch_request, refused, state

Launch = Callable[..., list[str]]

ROOT = {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 100, "VolumeType": "gp3", "Encrypted": True}}


def tags(kind: str, key: str = "a", value: str = "b") -> dict[str, Any]:
    return {"ResourceType": kind, "Tags": [{"Key": key, "Value": value}]}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"ImageId": None}, "MissingParameter"),
        ({"ImageId": "nonsense"}, "InvalidAMIID.Malformed"),
        ({"ImageId": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound"),
        ({"InstanceType": "t2.huge"}, "InvalidParameterValue"),
        ({"InstanceType": "t4g.micro"}, "InvalidParameterValue"),
        ({"KeyName": "nobody"}, "InvalidKeyPair.NotFound"),
        ({"IamInstanceProfile": {"Name": "nobody"}}, "InvalidParameterValue"),
        ({"IamInstanceProfile": {"Arn": "arn:aws:iam::123456789012:instance-profile/x"}}, "InvalidParameterValue"),
        ({"SubnetId": "subnet-0123456789abcdef0"}, "InvalidSubnetID.NotFound"),
        ({"SecurityGroupIds": ["sg-0123456789abcdef0"]}, "InvalidGroup.NotFound"),
        ({"MinCount": 0}, "InvalidParameterValue"),
        ({"MinCount": 3, "MaxCount": 2}, "InvalidParameterValue"),
        ({"UserData": "x" * 16385}, "InvalidParameterValue"),
        ({"PrivateIpAddress": "10.0.2.5"}, "InvalidParameterValue"),
        ({"PrivateIpAddress": "10.0.1.3"}, "InvalidParameterValue"),
        ({"PrivateIpAddress": "10.0.1.255"}, "InvalidParameterValue"),
        ({"PrivateIpAddress": "10.0.1.9", "MaxCount": 2}, "InvalidParameterCombination"),
        ({"NetworkInterfaces": [{"DeviceIndex": 0}]}, "InvalidParameterCombination"),
        ({"TagSpecifications": [tags("vpc")]}, "InvalidParameterValue"),
        ({"TagSpecifications": [tags("instance", "aws:x")]}, "InvalidParameterValue"),
        ({"BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 4}}]}, "InvalidBlockDeviceMapping"),
        ({"BlockDeviceMappings": [{"DeviceName": "/dev/sdb", "Ebs": {"VolumeType": "gp3"}}]}, "MissingParameter"),
        (
            {"BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeType": "gp9"}}]},
            "InvalidParameterValue",
        ),
    ],
)
def test_refused_launches_leave_nothing(ec2: Any, network: Network, change: dict[str, Any], code: str) -> None:
    assert refused(ec2.run_instances, **launch_request(network, **change)) == code
    assert ec2.describe_instances()["Reservations"] == []
    assert ec2.describe_network_interfaces()["NetworkInterfaces"] == []
    assert ec2.describe_volumes()["Volumes"] == []


def test_a_type_that_the_zone_does_not_offer(ec2: Any, network: Network) -> None:
    offers = INSTANCE_TYPE_OFFERINGS["availability-zone"][REGION]
    here = {each["InstanceType"] for each in offers if each["Location"] == f"{REGION}a"}
    elsewhere = min({each["InstanceType"] for each in offers} - here)
    assert refused(ec2.run_instances, **launch_request(network, InstanceType=elsewhere)) == "Unsupported"


def test_groups_of_another_network(ec2: Any, network: Network) -> None:
    other = Network(ec2)
    request = launch_request(network, SecurityGroupIds=[other.group])
    assert refused(ec2.run_instances, **request) == "InvalidParameter"


def test_as_many_as_asked_for(ec2: Any, network: Network) -> None:
    launched = ec2.run_instances(**launch_request(network, MinCount=1, MaxCount=3))["Instances"]
    assert [each["AmiLaunchIndex"] for each in launched] == [0, 1, 2]
    assert len({each["PrivateIpAddress"] for each in launched}) == 3


def test_as_many_as_there_is_capacity_for(standin: StandIn, ec2: Any, network: Network) -> None:
    standin.settings(capacity={f"t2.medium/{REGION}a": 3})
    request = launch_request(network, MinCount=2, MaxCount=5)
    first = [each["InstanceId"] for each in ec2.run_instances(**request)["Instances"]]
    assert len(first) == 3
    assert refused(ec2.run_instances, **request) == "InsufficientInstanceCapacity"
    other = ec2.run_instances(**launch_request(network, InstanceType="t2.large"))["Instances"]
    assert len(other) == 1
    ec2.terminate_instances(InstanceIds=first[:2])
    assert state(ec2, first[0]) == "terminated"
    assert len(ec2.run_instances(**request)["Instances"]) == 2


def test_a_start_needs_capacity_too(standin: StandIn, ec2: Any, launch: Launch) -> None:
    [machine] = launch()
    standin.settings(capacity={f"t2.medium/{REGION}a": 0})
    ec2.stop_instances(InstanceIds=[machine])
    assert state(ec2, machine) == "stopped"
    [thief] = launch()
    assert refused(ec2.start_instances, InstanceIds=[machine]) == "InsufficientInstanceCapacity"
    ec2.terminate_instances(InstanceIds=[thief])
    assert state(ec2, thief) == "terminated"
    assert ec2.start_instances(InstanceIds=[machine])["StartingInstances"]


def test_the_root_disk_is_the_images_with_the_wishes(ec2: Any, launch: Launch) -> None:
    [machine] = launch(BlockDeviceMappings=[ROOT], TagSpecifications=[tags("volume"), tags("instance")])
    [mapping] = instance(ec2, machine)["BlockDeviceMappings"]
    assert mapping["DeviceName"] == instance(ec2, machine)["RootDeviceName"] == "/dev/sda1"
    assert mapping["Ebs"]["DeleteOnTermination"] is True
    [volume] = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [machine]}])["Volumes"]
    assert (volume["Size"], volume["VolumeType"], volume["Encrypted"]) == (100, "gp3", True)
    assert (volume["State"], volume["Attachments"][0]["Device"]) == ("in-use", "/dev/sda1")
    assert volume["Tags"] == [{"Key": "a", "Value": "b"}]
    ec2.terminate_instances(InstanceIds=[machine])
    assert state(ec2, machine) == "terminated"
    assert refused(ec2.describe_volumes, VolumeIds=[volume["VolumeId"]]) == "InvalidVolume.NotFound"


def test_a_root_disk_without_wishes(ec2: Any, launch: Launch) -> None:
    [machine] = launch(BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"DeleteOnTermination": False}}])
    [mapping] = instance(ec2, machine)["BlockDeviceMappings"]
    [volume] = ec2.describe_volumes(VolumeIds=[mapping["Ebs"]["VolumeId"]])["Volumes"]
    assert volume["Size"] == 8
    ec2.terminate_instances(InstanceIds=[machine])
    assert state(ec2, machine) == "terminated"
    [volume] = ec2.describe_volumes(VolumeIds=[mapping["Ebs"]["VolumeId"]])["Volumes"]
    assert volume["State"] == "available"
    assert volume["Attachments"] == []


def test_another_name_than_the_root_devices_adds_a_disk(ec2: Any, launch: Launch) -> None:
    [machine] = launch(BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 100}}])
    names = {each["DeviceName"] for each in instance(ec2, machine)["BlockDeviceMappings"]}
    assert names == {"/dev/sda1", "/dev/xvda"}


def test_tags_in_metadata_have_no_slash(ec2: Any, network: Network, launch: Launch) -> None:
    enabled = {"InstanceMetadataTags": "enabled"}
    slash = {"TagSpecifications": [tags("instance", "rayward.dev/role")]}
    assert refused(ec2.run_instances, **launch_request(network, MetadataOptions=enabled, **slash)) == (
        "InvalidParameterValue"
    )
    [machine] = launch(MetadataOptions={"InstanceMetadataTags": "disabled"}, **slash)
    modify = ec2.modify_instance_metadata_options
    assert refused(modify, InstanceId=machine, **enabled) == "InvalidParameterValue"
    [open_one] = launch(MetadataOptions=enabled, TagSpecifications=[tags("instance", "role")])
    created = {"Resources": [open_one], "Tags": [{"Key": "a/b", "Value": ""}]}
    assert refused(ec2.create_tags, **created) == "InvalidParameterValue"


def test_metadata_options_are_kept(ec2: Any, launch: Launch) -> None:
    options = {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "HttpEndpoint": "enabled"}
    [machine] = launch(MetadataOptions=options)
    assert options.items() <= instance(ec2, machine)["MetadataOptions"].items()


def test_the_type_changes_on_a_stopped_instance_only(ec2: Any, launch: Launch) -> None:
    [machine] = launch()
    change = {"InstanceId": machine, "InstanceType": {"Value": "t2.large"}}
    assert state(ec2, machine) == "running"
    assert refused(ec2.modify_instance_attribute, **change) == "IncorrectInstanceState"
    ec2.stop_instances(InstanceIds=[machine])
    ec2.modify_instance_attribute(**change)
    assert instance(ec2, machine)["InstanceType"] == "t2.large"


def test_the_lab_image_and_canonicals_parameters(standin: StandIn, ec2: Any) -> None:
    [image] = ec2.describe_images(ImageIds=[IMAGE])["Images"]
    assert (image["OwnerId"], image["RootDeviceName"], image["Architecture"]) == (
        "099720109477",
        "/dev/sda1",
        "x86_64",
    )
    for region in (REGION, "eu-west-1"):
        for release in ("22.04", "24.04"):
            for architecture, expected in (("amd64", "x86_64"), ("arm64", "arm64")):
                path = f"/aws/service/canonical/ubuntu/server/{release}/stable/current/{architecture}/hvm"
                ids = {
                    standin.client("ssm", region).get_parameter(Name=f"{path}/ebs-{kind}/ami-id")["Parameter"]["Value"]
                    for kind in ("gp2", "gp3")
                }
                [image] = standin.client("ec2", region).describe_images(ImageIds=list(ids))["Images"]
                assert image["Architecture"] == expected
    missing = "/aws/service/canonical/ubuntu/server/04.10/stable/current/amd64/hvm/ebs-gp3/ami-id"
    assert refused(standin.client("ssm").get_parameter, Name=missing) == "ParameterNotFound"


def test_amazon_linux_can_be_launched_from_its_parameter(standin: StandIn, launch: Launch) -> None:
    name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    image = standin.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    assert launch(ImageId=image)


def test_what_a_launch_gets_without_asking(ec2: Any, network: Network) -> None:
    machine = ec2.run_instances(ImageId=IMAGE, InstanceType="t2.medium", MinCount=1, MaxCount=1)["Instances"][0]
    [subnet] = ec2.describe_subnets(SubnetIds=[machine["SubnetId"]])["Subnets"]
    assert (subnet["DefaultForAz"], subnet["AvailabilityZone"]) == (True, f"{REGION}a")
    assert [each["GroupName"] for each in machine["SecurityGroups"]] == ["default"]
    machine = ec2.run_instances(**launch_request(network, SecurityGroupIds=None))["Instances"][0]
    [group] = machine["SecurityGroups"]
    [group] = ec2.describe_security_groups(GroupIds=[group["GroupId"]])["SecurityGroups"]
    assert (group["GroupName"], group["VpcId"]) == ("default", network.vpc)


def test_an_instance_has_the_groups_of_its_interface(ec2: Any, network: Network, launch: Launch) -> None:
    [machine] = launch(
        SubnetId=None,
        SecurityGroupIds=None,
        NetworkInterfaces=[{"DeviceIndex": 0, "SubnetId": network.subnet, "Groups": [network.group]}],
    )
    other = ec2.create_security_group(VpcId=network.vpc, GroupName="other", Description="x")["GroupId"]
    interface = instance(ec2, machine)["NetworkInterfaces"][0]["NetworkInterfaceId"]

    def groups() -> list[list[str]]:
        described = instance(ec2, machine)
        [eni] = ec2.describe_network_interfaces(NetworkInterfaceIds=[interface])["NetworkInterfaces"]
        shown = [described["SecurityGroups"], described["NetworkInterfaces"][0]["Groups"], eni["Groups"]]
        return [[each["GroupId"] for each in each_shown] for each_shown in shown]

    assert groups() == [[network.group]] * 3
    ec2.modify_instance_attribute(InstanceId=machine, Groups=[other])
    assert groups() == [[other]] * 3
    ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, Groups=[network.group])
    assert groups() == [[network.group]] * 3


def test_each_instance_of_a_launch_has_the_profile(standin: StandIn, ec2: Any, launch: Launch) -> None:
    profile = standin.client("iam").create_instance_profile(InstanceProfileName="lab")["InstanceProfile"]["Arn"]
    for machine in launch(MaxCount=2, IamInstanceProfile={"Name": "lab"}):
        assert instance(ec2, machine)["IamInstanceProfile"]["Arn"] == profile


def test_the_latest_console_output_is_for_nitro(ec2: Any, launch: Launch) -> None:
    [xen], [nitro] = launch(), launch(InstanceType="m5.large")
    assert refused(ec2.get_console_output, InstanceId=xen, Latest=True) == "UnsupportedOperation"
    assert ec2.get_console_output(InstanceId=nitro, Latest=True)["InstanceId"] == nitro
    assert ec2.get_console_output(InstanceId=xen)["InstanceId"] == xen


def test_what_a_record_says_on_its_console_is_set(standin: StandIn, ec2: Any, launch: Launch) -> None:
    [one], [other] = launch(), launch()

    def said(machine: str) -> str:
        return str(ec2.get_console_output(InstanceId=machine).get("Output", ""))

    assert said(one) == ""
    standin.settings(consoles={one: "Kernel panic\n", "*": "x" * 70000})
    assert (said(one), len(said(other))) == ("Kernel panic\n", 64 * 1024)
