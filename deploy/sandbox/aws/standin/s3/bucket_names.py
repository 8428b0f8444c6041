"""Names that a bucket may have.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
"""

from __future__ import annotations

import re

from standin.calls import Call
from standin.errors import AwsError
from standin.s3.registry import S3
from standin.world import World

_FORM = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


@S3.before("CreateBucket")
def check_name(world: World, call: Call) -> None:
    """moto checks the length only."""
    name = call.params["Bucket"]
    if (
        not _FORM.fullmatch(name)
        or _ADDRESS.fullmatch(name)
        or ".." in name
        or name.startswith(_PREFIXES)
        or name.endswith(_SUFFIXES)
    ):
        detail = f"<BucketName>{name}</BucketName>" if name.isascii() and name.isprintable() else ""
        raise AwsError("InvalidBucketName", "The specified bucket is not valid.", detail=detail)
