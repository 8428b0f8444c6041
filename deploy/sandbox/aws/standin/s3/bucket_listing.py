"""ListBuckets: by prefix, by region, in pages.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html
"""

from __future__ import annotations

import base64
import binascii

from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model
from moto.s3.models import s3_backends

from standin.calls import Answer, Call
from standin.errors import AwsError
from standin.s3.registry import S3
from standin.world import World

_MOST = 10_000


@S3.instead("ListBuckets")
def list_buckets(world: World, call: Call) -> Answer:
    """moto cuts a list at MaxBuckets and has no token for the rest."""
    size, prefix = call.params.get("MaxBuckets", _MOST), call.params.get("Prefix", "")
    if not 1 <= size <= _MOST:
        raise AwsError("InvalidArgument", f"MaxBuckets must be between 1 and {_MOST}")
    after = _name_in(call.params["ContinuationToken"]) if "ContinuationToken" in call.params else ""
    region = call.params.get("BucketRegion")
    matching = [
        bucket
        for name, bucket in sorted(s3_backends[call.account]["aws"].buckets.items())
        if name.startswith(prefix) and name > after and region in (None, bucket.region_name)
    ]
    shown = matching[:size]
    result = {
        "Owner": {"ID": call.account},
        "Buckets": [
            {"Name": each.name, "CreationDate": each.creation_date, "BucketRegion": each.region_name} for each in shown
        ],
    }
    if prefix:
        result["Prefix"] = prefix
    if len(matching) > size:
        result["ContinuationToken"] = base64.urlsafe_b64encode(shown[-1].name.encode()).decode()
    operation = get_service_model("s3").operation_model(call.action)
    serialized = get_serializer_class("s3", "rest-xml")(operation_model=operation).serialize(result)
    body = serialized["body"]
    return Answer(200, {"Content-Type": "application/xml"}, body.encode() if isinstance(body, str) else body)


def _name_in(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise AwsError("InvalidArgument", "The continuation token provided is incorrect") from None
