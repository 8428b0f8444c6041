"""The contents of the instance metadata service, as a tree: folders are dicts, all else is text.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-metadata.html
"""

from __future__ import annotations

import json
from typing import Any

from standin.machines.credentials import Credentials
from standin.machines.facts import Facts

Tree = dict[str, Any]


def tree_of(facts: Facts, credentials: Credentials) -> Tree:
    """Everything that an instance may ask for, below the version."""
    tree: Tree = {"dynamic": {"instance-identity": {"document": _document(facts)}}, "meta-data": _meta_data(facts)}
    if facts.profile_arn is not None:
        tree["meta-data"]["iam"] = _iam(facts, credentials)
    if facts.user_data is not None:
        tree["user-data"] = facts.user_data
    return tree


def _meta_data(facts: Facts) -> Tree:
    host_name = f"{facts.host_name}.{facts.domain}"
    tree: Tree = {
        "ami-id": facts.image,
        "ami-launch-index": str(facts.launch_index),
        "hostname": host_name,
        "instance-action": "none",
        "instance-id": facts.id,
        "instance-life-cycle": "on-demand",
        "instance-type": facts.instance_type,
        "local-hostname": host_name,
        "local-ipv4": str(facts.address),
        "mac": facts.mac,
        "network": {"interfaces": {"macs": {facts.mac: _interface(facts, host_name)}}},
        "placement": {"availability-zone": facts.zone, "region": facts.region},
        "reservation-id": facts.reservation,
        "security-groups": "\n".join(facts.groups),
        "services": {"domain": "amazonaws.com", "partition": "aws"},
    }
    if facts.public_address is not None:
        tree["public-ipv4"] = facts.public_address
    if facts.public_key is not None:
        tree["public-keys"] = {f"0={facts.key_name}": None, "0": {"openssh-key": facts.public_key}}
    return tree


def _interface(facts: Facts, host_name: str) -> Tree:
    tree: Tree = {
        "device-number": "0",
        "interface-id": facts.interface,
        "local-hostname": host_name,
        "local-ipv4s": str(facts.address),
        "mac": facts.mac,
        "owner-id": facts.account,
        "security-group-ids": "\n".join(facts.group_ids),
        "security-groups": "\n".join(facts.groups),
        "subnet-id": facts.subnet,
        "subnet-ipv4-cidr-block": str(facts.subnet_cidr),
        "vpc-id": facts.vpc,
        "vpc-ipv4-cidr-block": facts.vpc_cidrs[0],
        "vpc-ipv4-cidr-blocks": "\n".join(facts.vpc_cidrs),
    }
    if facts.public_address is not None:
        tree["public-ipv4s"] = facts.public_address
    return tree


def _iam(facts: Facts, credentials: Credentials) -> Tree:
    tree: Tree = {
        "info": json.dumps({"Code": "Success", "InstanceProfileArn": facts.profile_arn, "InstanceProfileId": ""}),
    }
    if facts.role is not None:
        tree["security-credentials"] = {facts.role: json.dumps(credentials.of(facts.id, facts.role, facts.account))}
    return tree


def _document(facts: Facts) -> str:
    return json.dumps(
        {
            "accountId": facts.account,
            "architecture": facts.architecture,
            "availabilityZone": facts.zone,
            "imageId": facts.image,
            "instanceId": facts.id,
            "instanceType": facts.instance_type,
            "privateIp": str(facts.address),
            "region": facts.region,
            "version": "2017-09-30",
        },
        indent=2,
    )


def read(tree: Tree, path: str) -> bytes | None:
    """What there is at a path below the version; a folder is listed. None when there is nothing."""
    found: Any = tree
    for part in filter(None, path.split("/")):
        found = found.get(part) if isinstance(found, dict) else None
        if found is None:
            return None
    if isinstance(found, bytes):
        return found
    return (_listed(found) if isinstance(found, dict) else str(found)).encode()


def _listed(folder: Tree) -> str:
    """Folders end in a slash. Public keys alone are listed by number and name, and found by number."""
    if any("=" in name for name in folder):
        return "\n".join(name for name in folder if "=" in name)
    return "\n".join(f"{name}/" if isinstance(value, dict) else name for name, value in folder.items())
