"""What a new bucket has: all public access blocked, SSE-S3, ACLs switched off.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/create-bucket-faq.html and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/default-encryption-faq.html
"""

from __future__ import annotations

from typing import Any

from moto.s3.models import PublicAccessBlock

from standin.calls import Answer, Call
from standin.errors import AwsError
from standin.s3.registry import S3, bucket_named
from standin.world import World

_OWNER_ENFORCED = "BucketOwnerEnforced"


@S3.before("CreateBucket")
def note_whether_it_is_new(world: World, call: Call) -> None:
    """In us-east-1 an owner may create a bucket again, which changes nothing."""
    call.notes["new"] = bucket_named(call.params["Bucket"]) is None


@S3.after("CreateBucket")
def set_defaults(world: World, call: Call, answer: Answer) -> None:
    """moto's buckets have none of this."""
    bucket = bucket_named(call.params["Bucket"])
    if answer.status != 200 or not call.notes["new"]:
        return
    bucket.public_access_block = PublicAccessBlock(True, True, True, True)
    bucket.encryption = _default_encryption()
    bucket.ownership_rule = bucket.ownership_rule or _OWNER_ENFORCED


@S3.after("DeleteBucketEncryption")
def fall_back_to_the_default(world: World, call: Call, answer: Answer) -> None:
    """There is no bucket without encryption."""
    if answer.status < 300:
        bucket_named(call.params["Bucket"]).encryption = _default_encryption()


@S3.before("PutBucketAcl", "PutObjectAcl")
def refuse_acls(world: World, call: Call) -> None:
    """A bucket of this ownership has no ACLs to change."""
    bucket = bucket_named(call.params["Bucket"])
    if bucket is not None and bucket.ownership_rule == _OWNER_ENFORCED:
        raise AwsError("AccessControlListNotSupported", "The bucket does not allow ACLs")


def _default_encryption() -> dict[str, Any]:
    default = {"SSEAlgorithm": "AES256"}
    return {"Rule": {"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": "false"}}
