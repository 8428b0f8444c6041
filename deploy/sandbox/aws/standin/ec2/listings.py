"""What can be listed: for each describe, its ids with their error codes, and its filters.

Ids and filters are given as paths in an item of the result, by the names in the API reference.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class IdParameter:
    """A parameter that names items: where the name is in an item, and how an unknown one is refused."""

    path: str
    code: str
    message: str


@dataclass(frozen=True)
class Listing:
    """One describe."""

    result: str
    filters: dict[str, str]
    ids: dict[str, IdParameter] = field(default_factory=dict)


def _instance_filters() -> dict[str, str]:
    interface = {
        "addresses.association.allocation-id": "PrivateIpAddresses.Association.AllocationId",
        "addresses.association.public-ip": "PrivateIpAddresses.Association.PublicIp",
        "addresses.primary": "PrivateIpAddresses.Primary",
        "addresses.private-ip-address": "PrivateIpAddresses.PrivateIpAddress",
        "association.ip-owner-id": "Association.IpOwnerId",
        "association.public-ip": "Association.PublicIp",
        "attachment.attachment-id": "Attachment.AttachmentId",
        "attachment.delete-on-termination": "Attachment.DeleteOnTermination",
        "attachment.device-index": "Attachment.DeviceIndex",
        "attachment.status": "Attachment.Status",
        "description": "Description",
        "group-id": "Groups.GroupId",
        "group-name": "Groups.GroupName",
        "mac-address": "MacAddress",
        "network-interface-id": "NetworkInterfaceId",
        "owner-id": "OwnerId",
        "private-dns-name": "PrivateDnsName",
        "private-ip-address": "PrivateIpAddress",
        "source-dest-check": "SourceDestCheck",
        "status": "Status",
        "subnet-id": "SubnetId",
        "vpc-id": "VpcId",
    }
    return {
        "architecture": "Architecture",
        "availability-zone": "Placement.AvailabilityZone",
        "block-device-mapping.delete-on-termination": "BlockDeviceMappings.Ebs.DeleteOnTermination",
        "block-device-mapping.device-name": "BlockDeviceMappings.DeviceName",
        "block-device-mapping.status": "BlockDeviceMappings.Ebs.Status",
        "block-device-mapping.volume-id": "BlockDeviceMappings.Ebs.VolumeId",
        "client-token": "ClientToken",
        "dns-name": "PublicDnsName",
        "hypervisor": "Hypervisor",
        "iam-instance-profile.arn": "IamInstanceProfile.Arn",
        "iam-instance-profile.id": "IamInstanceProfile.Id",
        "image-id": "ImageId",
        "instance-id": "InstanceId",
        "instance-lifecycle": "InstanceLifecycle",
        "instance-state-code": "State.Code",
        "instance-state-name": "State.Name",
        "instance-type": "InstanceType",
        "instance.group-id": "SecurityGroups.GroupId",
        "instance.group-name": "SecurityGroups.GroupName",
        "group-id": "SecurityGroups.GroupId",
        "group-name": "SecurityGroups.GroupName",
        "ip-address": "PublicIpAddress",
        "kernel-id": "KernelId",
        "key-name": "KeyName",
        "launch-index": "AmiLaunchIndex",
        "launch-time": "LaunchTime",
        "metadata-options.http-endpoint": "MetadataOptions.HttpEndpoint",
        "metadata-options.http-put-response-hop-limit": "MetadataOptions.HttpPutResponseHopLimit",
        "metadata-options.http-tokens": "MetadataOptions.HttpTokens",
        "metadata-options.instance-metadata-tags": "MetadataOptions.InstanceMetadataTags",
        "monitoring-state": "Monitoring.State",
        "placement-group-name": "Placement.GroupName",
        "platform": "Platform",
        "private-dns-name": "PrivateDnsName",
        "private-ip-address": "PrivateIpAddress",
        "product-code": "ProductCodes.ProductCodeId",
        "reason": "StateTransitionReason",
        "root-device-name": "RootDeviceName",
        "root-device-type": "RootDeviceType",
        "source-dest-check": "SourceDestCheck",
        "spot-instance-request-id": "SpotInstanceRequestId",
        "state-reason-code": "StateReason.Code",
        "state-reason-message": "StateReason.Message",
        "subnet-id": "SubnetId",
        "tenancy": "Placement.Tenancy",
        "virtualization-type": "VirtualizationType",
        "vpc-id": "VpcId",
        **{f"network-interface.{name}": f"NetworkInterfaces.{path}" for name, path in interface.items()},
    }


#: Filters of DescribeInstances that are about the reservation.
RESERVATION_FILTERS = {"owner-id": "OwnerId", "reservation-id": "ReservationId"}

_INSTANCE_IDS = IdParameter("InstanceId", "InvalidInstanceID.NotFound", "The instance ID '{}' does not exist")

LISTINGS = {
    "DescribeInstances": Listing("Reservations", _instance_filters(), {"InstanceIds": _INSTANCE_IDS}),
    "DescribeInstanceStatus": Listing(
        "InstanceStatuses",
        {
            "availability-zone": "AvailabilityZone",
            "instance-state-code": "InstanceState.Code",
            "instance-state-name": "InstanceState.Name",
            "instance-status.reachability": "InstanceStatus.Details.Status",
            "instance-status.status": "InstanceStatus.Status",
            "system-status.reachability": "SystemStatus.Details.Status",
            "system-status.status": "SystemStatus.Status",
        },
        {"InstanceIds": _INSTANCE_IDS},
    ),
    "DescribeVpcs": Listing(
        "Vpcs",
        {
            "cidr": "CidrBlock",
            "cidr-block-association.association-id": "CidrBlockAssociationSet.AssociationId",
            "cidr-block-association.cidr-block": "CidrBlockAssociationSet.CidrBlock",
            "cidr-block-association.state": "CidrBlockAssociationSet.CidrBlockState.State",
            "dhcp-options-id": "DhcpOptionsId",
            "is-default": "IsDefault",
            "isDefault": "IsDefault",
            "owner-id": "OwnerId",
            "state": "State",
            "vpc-id": "VpcId",
        },
        {"VpcIds": IdParameter("VpcId", "InvalidVpcID.NotFound", "The vpc ID '{}' does not exist")},
    ),
    "DescribeSubnets": Listing(
        "Subnets",
        {
            "availability-zone": "AvailabilityZone",
            "availability-zone-id": "AvailabilityZoneId",
            "availabilityZone": "AvailabilityZone",
            "available-ip-address-count": "AvailableIpAddressCount",
            "cidr": "CidrBlock",
            "cidr-block": "CidrBlock",
            "cidrBlock": "CidrBlock",
            "default-for-az": "DefaultForAz",
            "map-public-ip-on-launch": "MapPublicIpOnLaunch",
            "owner-id": "OwnerId",
            "state": "State",
            "subnet-arn": "SubnetArn",
            "subnet-id": "SubnetId",
            "vpc-id": "VpcId",
        },
        {"SubnetIds": IdParameter("SubnetId", "InvalidSubnetID.NotFound", "The subnet ID '{}' does not exist")},
    ),
    "DescribeInternetGateways": Listing(
        "InternetGateways",
        {
            "attachment.state": "Attachments.State",
            "attachment.vpc-id": "Attachments.VpcId",
            "internet-gateway-id": "InternetGatewayId",
            "owner-id": "OwnerId",
        },
        {
            "InternetGatewayIds": IdParameter(
                "InternetGatewayId",
                "InvalidInternetGatewayID.NotFound",
                "The internetGateway ID '{}' does not exist",
            )
        },
    ),
    "DescribeRouteTables": Listing(
        "RouteTables",
        {
            "association.gateway-id": "Associations.GatewayId",
            "association.main": "Associations.Main",
            "association.route-table-association-id": "Associations.RouteTableAssociationId",
            "association.route-table-id": "Associations.RouteTableId",
            "association.subnet-id": "Associations.SubnetId",
            "owner-id": "OwnerId",
            "route-table-id": "RouteTableId",
            "route.destination-cidr-block": "Routes.DestinationCidrBlock",
            "route.gateway-id": "Routes.GatewayId",
            "route.instance-id": "Routes.InstanceId",
            "route.nat-gateway-id": "Routes.NatGatewayId",
            "route.origin": "Routes.Origin",
            "route.state": "Routes.State",
            "vpc-id": "VpcId",
        },
        {
            "RouteTableIds": IdParameter(
                "RouteTableId", "InvalidRouteTableID.NotFound", "The routeTable ID '{}' does not exist"
            )
        },
    ),
    "DescribeSecurityGroups": Listing(
        "SecurityGroups",
        {
            "description": "Description",
            "group-id": "GroupId",
            "group-name": "GroupName",
            "owner-id": "OwnerId",
            "vpc-id": "VpcId",
            **{
                f"{way}ip-permission.{name}": f"IpPermissions{suffix}.{path}"
                for way, suffix in (("", ""), ("egress.", "Egress"))
                for name, path in {
                    "cidr": "IpRanges.CidrIp",
                    "from-port": "FromPort",
                    "group-id": "UserIdGroupPairs.GroupId",
                    "ipv6-cidr": "Ipv6Ranges.CidrIpv6",
                    "prefix-list-id": "PrefixListIds.PrefixListId",
                    "protocol": "IpProtocol",
                    "to-port": "ToPort",
                    "user-id": "UserIdGroupPairs.UserId",
                }.items()
            },
        },
        {
            "GroupIds": IdParameter("GroupId", "InvalidGroup.NotFound", "The security group '{}' does not exist"),
            "GroupNames": IdParameter("GroupName", "InvalidGroup.NotFound", "The security group '{}' does not exist"),
        },
    ),
    "DescribeSecurityGroupRules": Listing(
        "SecurityGroupRules",
        {"group-id": "GroupId", "security-group-rule-id": "SecurityGroupRuleId"},
        {
            "SecurityGroupRuleIds": IdParameter(
                "SecurityGroupRuleId",
                "InvalidSecurityGroupRuleId.NotFound",
                "The security group rule ID '{}' does not exist",
            )
        },
    ),
    "DescribeNetworkInterfaces": Listing(
        "NetworkInterfaces",
        {
            "addresses.association.public-ip": "PrivateIpAddresses.Association.PublicIp",
            "addresses.primary": "PrivateIpAddresses.Primary",
            "addresses.private-ip-address": "PrivateIpAddresses.PrivateIpAddress",
            "association.allocation-id": "Association.AllocationId",
            "association.association-id": "Association.AssociationId",
            "association.public-ip": "Association.PublicIp",
            "attachment.attachment-id": "Attachment.AttachmentId",
            "attachment.delete-on-termination": "Attachment.DeleteOnTermination",
            "attachment.device-index": "Attachment.DeviceIndex",
            "attachment.instance-id": "Attachment.InstanceId",
            "attachment.instance-owner-id": "Attachment.InstanceOwnerId",
            "attachment.status": "Attachment.Status",
            "availability-zone": "AvailabilityZone",
            "description": "Description",
            "group-id": "Groups.GroupId",
            "group-name": "Groups.GroupName",
            "interface-type": "InterfaceType",
            "mac-address": "MacAddress",
            "network-interface-id": "NetworkInterfaceId",
            "owner-id": "OwnerId",
            "private-dns-name": "PrivateDnsName",
            "private-ip-address": "PrivateIpAddress",
            "requester-id": "RequesterId",
            "requester-managed": "RequesterManaged",
            "source-dest-check": "SourceDestCheck",
            "status": "Status",
            "subnet-id": "SubnetId",
            "vpc-id": "VpcId",
        },
        {
            "NetworkInterfaceIds": IdParameter(
                "NetworkInterfaceId",
                "InvalidNetworkInterfaceID.NotFound",
                "The networkInterface ID '{}' does not exist",
            )
        },
    ),
    "DescribeAddresses": Listing(
        "Addresses",
        {
            "allocation-id": "AllocationId",
            "association-id": "AssociationId",
            "domain": "Domain",
            "instance-id": "InstanceId",
            "network-interface-id": "NetworkInterfaceId",
            "network-interface-owner-id": "NetworkInterfaceOwnerId",
            "private-ip-address": "PrivateIpAddress",
            "public-ip": "PublicIp",
        },
        {
            "AllocationIds": IdParameter(
                "AllocationId", "InvalidAllocationID.NotFound", "The allocation ID '{}' does not exist"
            ),
            "PublicIps": IdParameter("PublicIp", "InvalidAddress.NotFound", "Address '{}' not found."),
        },
    ),
    "DescribeKeyPairs": Listing(
        "KeyPairs",
        {"fingerprint": "KeyFingerprint", "key-name": "KeyName", "key-pair-id": "KeyPairId"},
        {
            "KeyNames": IdParameter("KeyName", "InvalidKeyPair.NotFound", "The key pair '{}' does not exist"),
            "KeyPairIds": IdParameter("KeyPairId", "InvalidKeyPair.NotFound", "The key pair '{}' does not exist"),
        },
    ),
    "DescribeVolumes": Listing(
        "Volumes",
        {
            "attachment.attach-time": "Attachments.AttachTime",
            "attachment.delete-on-termination": "Attachments.DeleteOnTermination",
            "attachment.device": "Attachments.Device",
            "attachment.instance-id": "Attachments.InstanceId",
            "attachment.status": "Attachments.State",
            "availability-zone": "AvailabilityZone",
            "create-time": "CreateTime",
            "encrypted": "Encrypted",
            "size": "Size",
            "snapshot-id": "SnapshotId",
            "status": "State",
            "volume-id": "VolumeId",
            "volume-type": "VolumeType",
        },
        {"VolumeIds": IdParameter("VolumeId", "InvalidVolume.NotFound", "The volume '{}' does not exist.")},
    ),
    "DescribeImages": Listing(
        "Images",
        {
            "architecture": "Architecture",
            "creation-date": "CreationDate",
            "description": "Description",
            "hypervisor": "Hypervisor",
            "image-id": "ImageId",
            "image-type": "ImageType",
            "is-public": "Public",
            "name": "Name",
            "owner-alias": "ImageOwnerAlias",
            "owner-id": "OwnerId",
            "platform": "Platform",
            "root-device-name": "RootDeviceName",
            "root-device-type": "RootDeviceType",
            "state": "State",
            "virtualization-type": "VirtualizationType",
        },
        {"ImageIds": IdParameter("ImageId", "InvalidAMIID.NotFound", "The image id '[{}]' does not exist")},
    ),
    "DescribeTags": Listing(
        "Tags",
        {"key": "Key", "resource-id": "ResourceId", "resource-type": "ResourceType", "value": "Value"},
    ),
    "DescribeAvailabilityZones": Listing(
        "AvailabilityZones",
        {
            "region-name": "RegionName",
            "state": "State",
            "zone-id": "ZoneId",
            "zone-name": "ZoneName",
            "zone-type": "ZoneType",
        },
        {
            "ZoneNames": IdParameter("ZoneName", "InvalidParameterValue", "Invalid availability zone: [{}]"),
            "ZoneIds": IdParameter("ZoneId", "InvalidParameterValue", "Invalid availability zone-id: [{}]"),
        },
    ),
    "DescribeNetworkAcls": Listing(
        "NetworkAcls",
        {
            "association.association-id": "Associations.NetworkAclAssociationId",
            "association.network-acl-id": "Associations.NetworkAclId",
            "association.subnet-id": "Associations.SubnetId",
            "default": "IsDefault",
            "network-acl-id": "NetworkAclId",
            "owner-id": "OwnerId",
            "vpc-id": "VpcId",
        },
        {
            "NetworkAclIds": IdParameter(
                "NetworkAclId", "InvalidNetworkAclID.NotFound", "The networkAcl ID '{}' does not exist"
            )
        },
    ),
}
