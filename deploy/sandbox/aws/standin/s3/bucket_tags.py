"""Tags of buckets: how many, how long, and those given when the bucket is made.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/buckets-tagging.html
"""

from __future__ import annotations

from typing import Any

from moto.s3.models import s3_backends

from standin.calls import Answer, Call
from standin.errors import AwsError
from standin.s3.registry import S3, bucket_named
from standin.world import World

_MOST = 50
_LONGEST_KEY, _LONGEST_VALUE = 128, 256


@S3.before("PutBucketTagging")
def check(world: World, call: Call) -> None:
    """moto has no limits here."""
    _check(call.params.get("Tagging", {}).get("TagSet", []))


@S3.before("CreateBucket")
def check_at_creation(world: World, call: Call) -> None:
    """The same limits."""
    _check(_given(call))


@S3.after("CreateBucket")
def tag(world: World, call: Call, answer: Answer) -> None:
    """moto ignores the tags of a CreateBucket."""
    tags = _given(call)
    if tags and answer.status == 200 and call.notes["new"]:
        bucket = bucket_named(call.params["Bucket"])
        backend = s3_backends[bucket.account_id][bucket.partition]
        backend.put_bucket_tagging(bucket.name, {each["Key"]: each.get("Value", "") for each in tags})


def _given(call: Call) -> list[dict[str, Any]]:
    tags: list[dict[str, Any]] = call.params.get("CreateBucketConfiguration", {}).get("Tags", [])
    return tags


def _check(tags: list[dict[str, Any]]) -> None:
    if len(tags) > _MOST:
        raise AwsError("BadRequest", f"Bucket tag count cannot be greater than {_MOST}")
    for each in tags:
        if not 1 <= len(each.get("Key", "")) <= _LONGEST_KEY:
            raise AwsError("InvalidTag", "The TagKey you have provided is invalid")
        if len(each.get("Value", "")) > _LONGEST_VALUE:
            raise AwsError("InvalidTag", "The TagValue you have provided is invalid")
