"""Which tags AWS takes, and on what.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions
"""

from __future__ import annotations

import re
from typing import Any

from standin.behaviours import Stage
from standin.calls import Call
from standin.ec2.existence import find, ids_named
from standin.ec2.registry import EC2
from standin.errors import AwsError
from standin.moto_backend import ec2
from standin.world import World

_MOST = 50
_LONGEST_KEY, _LONGEST_VALUE = 128, 256
_ID_FORM = re.compile(r"[a-z-]+-[0-9a-z]+")
#: Keys of tags that are shown in instance metadata become parts of a path there.
_METADATA_KEY = re.compile(r"(?!(\.|\.\.|_index)$)[0-9a-zA-Z\-_+=,.@:]+")

#: What may be tagged in the call that makes it.
_TAGGABLE = {
    "AllocateAddress": {"elastic-ip"},
    "AuthorizeSecurityGroupEgress": {"security-group-rule"},
    "AuthorizeSecurityGroupIngress": {"security-group-rule"},
    "CreateImage": {"image", "snapshot"},
    "CreateInternetGateway": {"internet-gateway"},
    "CreateKeyPair": {"key-pair"},
    "CreateLaunchTemplate": {"launch-template"},
    "CreateNetworkInterface": {"network-interface"},
    "CreateRouteTable": {"route-table"},
    "CreateSecurityGroup": {"security-group"},
    "CreateSnapshot": {"snapshot"},
    "CreateSubnet": {"subnet"},
    "CreateVolume": {"volume"},
    "CreateVpc": {"vpc"},
    "ImportKeyPair": {"key-pair"},
    "RunInstances": {"instance", "volume", "network-interface", "spot-instances-request", "elastic-gpu"},
}


@EC2.before("*")
def check_specifications(world: World, call: Call) -> None:
    """Tags given when something is made."""
    seen: set[str] = set()
    for specification in call.params.get("TagSpecifications", []):
        kind, tags = specification.get("ResourceType"), specification.get("Tags", [])
        allowed = _TAGGABLE.get(call.action)
        if not kind:
            raise AwsError("InvalidParameterValue", "Tag specification resource type must have a value")
        if allowed is not None and kind not in allowed:
            raise AwsError(
                "InvalidParameterValue", f"'{kind}' is not a valid taggable resource type for this operation."
            )
        if kind in seen:
            raise AwsError("InvalidParameterValue", f"Duplicate resource type '{kind}' in the tag specifications.")
        seen.add(kind)
        _check(tags)
        if len(tags) > _MOST:
            raise _too_many()
        if kind == "instance" and _in_metadata(call.params.get("MetadataOptions", {}).get("InstanceMetadataTags")):
            _check_metadata_keys([tag["Key"] for tag in tags])


@EC2.before("CreateTags")
def check_tags(world: World, call: Call) -> None:
    """Tags given to what exists."""
    tags: list[dict[str, Any]] = call.params.get("Tags", [])
    if not tags:
        raise AwsError("MissingParameter", "The request must contain the parameter TagSet")
    _check(tags)
    keys = {tag["Key"] for tag in tags}
    for each in _resources(call):
        present = ec2(call).tags.get(each, {})
        if len(keys | present.keys()) > _MOST:
            raise _too_many()
        if each.startswith("i-") and _in_metadata(find(ec2(call), each).metadata_options.instance_metadata_tags):
            _check_metadata_keys(sorted(keys))


@EC2.before("DeleteTags")
def check_deleted(world: World, call: Call) -> None:
    """AWS's own tags cannot be deleted. Where no tags are named, all others are."""
    resources = _resources(call)
    _check_reserved([str(tag.get("Key", "")) for tag in call.params.get("Tags", [])])
    if not call.params.get("Tags"):
        for each in resources:
            present = ec2(call).tags.get(each, {})
            for key in [key for key in present if not key.lower().startswith("aws:")]:
                del present[key]


@EC2.before("DeleteTags", stage=Stage.PREPARE)
def delete_all(world: World, call: Call) -> None:
    """Without any tag named, all go but AWS's own; moto deletes none."""
    if not call.params.get("Tags"):
        keys = {key for each in _resources(call) for key in ec2(call).tags.get(each, {})}
        call.params["Tags"] = [{"Key": key} for key in sorted(keys) if not key.lower().startswith("aws:")]


@EC2.before("ModifyInstanceMetadataOptions")
def check_when_metadata_tags_are_switched_on(world: World, call: Call) -> None:
    """The tags that the instance has already."""
    if _in_metadata(call.params.get("InstanceMetadataTags")):
        _check_metadata_keys(list(ec2(call).tags.get(call.params["InstanceId"], {})))


@EC2.after("Delete*", "ReleaseAddress")
def forget_tags(world: World, call: Call, result: Any) -> None:
    """A deleted resource takes its tags along, and a group those of its rules; moto goes on listing them."""
    backend = ec2(call)
    candidates = [each for _, each in ids_named(call.sent)]
    candidates += [each for each in backend.tags if each.startswith("sgr-")]
    for each in candidates:
        if find(backend, each) is None:
            backend.tags.pop(each, None)


def _resources(call: Call) -> list[str]:
    resources: list[str] = call.params.get("Resources", [])
    if not resources:
        raise AwsError("MissingParameter", "The request must contain the parameter resourceIdSet")
    for each in resources:
        if not _ID_FORM.fullmatch(each):
            raise AwsError("InvalidID", f"The ID '{each}' is not valid")
    return resources


def _check(tags: list[dict[str, Any]]) -> None:
    keys = [str(tag.get("Key", "")) for tag in tags]
    _check_reserved(keys)
    for tag, key in zip(tags, keys, strict=True):
        if not key:
            raise AwsError("InvalidParameterValue", "Tag key cannot be null or empty.")
        if len(key) > _LONGEST_KEY:
            raise AwsError("InvalidParameterValue", f"Tag key exceeds the maximum length of {_LONGEST_KEY} characters")
        if len(tag.get("Value") or "") > _LONGEST_VALUE:
            raise AwsError(
                "InvalidParameterValue", f"Tag value exceeds the maximum length of {_LONGEST_VALUE} characters"
            )
    for key in keys:
        if keys.count(key) > 1:
            raise AwsError("InvalidParameterValue", f"Duplicate tag key '{key}' specified.")


def _check_reserved(keys: list[str]) -> None:
    if any(key.lower().startswith("aws:") for key in keys):
        raise AwsError("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")


def _check_metadata_keys(keys: list[str]) -> None:
    for key in keys:
        if not _METADATA_KEY.fullmatch(key):
            raise AwsError(
                "InvalidParameterValue",
                f"'{key}' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\-_+=,.@:]{{1,255}}), and "
                "must not be a reserved name ('.', '..', '_index')",
            )


def _in_metadata(option: str | None) -> bool:
    return option == "enabled"


def _too_many() -> AwsError:
    return AwsError("TagLimitExceeded", f"The maximum number of tags for a resource is {_MOST}.")
