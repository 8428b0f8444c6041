"""Who may use a bucket, and from where: its owner, in its region, and only if the caller expects that owner.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html
"""

from __future__ import annotations

import re

from standin.behaviours import Stage
from standin.calls import Call
from standin.errors import AwsError
from standin.s3.registry import S3, bucket_named
from standin.world import World

_ACCOUNT = re.compile(r"\d{12}")


@S3.before("*", stage=Stage.EXISTENCE)
def check_owner_and_region(world: World, call: Call) -> None:
    """moto lets every account and region use every bucket, and ignores x-amz-expected-bucket-owner."""
    expected = call.header("x-amz-expected-bucket-owner")
    if expected is not None and not _ACCOUNT.fullmatch(expected):
        raise AwsError(
            "InvalidBucketOwnerAWSAccountID",
            "The value of the expected bucket owner parameter must be an AWS account ID",
        )
    bucket = bucket_named(call.params.get("Bucket", ""))
    if bucket is None or call.action == "CreateBucket":
        return
    if bucket.account_id != call.account or expected not in (None, bucket.account_id):
        raise AwsError("AccessDenied", "Access Denied", 403)
    if bucket.region_name != call.region:
        raise AwsError(
            "PermanentRedirect",
            "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all "
            "future requests to this endpoint.",
            301,
            headers={"x-amz-bucket-region": bucket.region_name},
            detail=f"<Bucket>{bucket.name}</Bucket>"
            f"<Endpoint>{bucket.name}.s3.{bucket.region_name}.amazonaws.com</Endpoint>",
        )
