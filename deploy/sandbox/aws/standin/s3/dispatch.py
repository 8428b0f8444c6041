"""How an S3 call is answered. The imports below are the list of all behaviours."""

from __future__ import annotations

from standin.calls import Answer, Call
from standin.errors import AwsError
from standin.moto_backend import run_other
from standin.s3 import bucket_access as bucket_access
from standin.s3 import bucket_defaults as bucket_defaults
from standin.s3 import bucket_listing as bucket_listing
from standin.s3 import bucket_names as bucket_names
from standin.s3 import bucket_tags as bucket_tags
from standin.s3 import bucket_versioning as bucket_versioning
from standin.s3.registry import S3
from standin.world import World


def handle(world: World, call: Call) -> Answer:
    """Answers one S3 call. The caller holds the lock."""
    if not call.action:
        raise AwsError("MethodNotAllowed", "The specified method is not allowed against this resource.", 405)
    answer: Answer = S3.run(world, call, run_other)
    return answer
