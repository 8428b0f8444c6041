"""GetBucketVersioning: the name of the answer's root element, which some SDKs insist on.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketVersioning.html
"""

from __future__ import annotations

from dataclasses import replace

from standin.calls import Answer, Call
from standin.s3.registry import S3
from standin.world import World


@S3.after("GetBucketVersioning")
def name_the_root(world: World, call: Call, answer: Answer) -> Answer:
    """moto names it after the action."""
    return replace(answer, body=answer.body.replace(b"GetBucketVersioningResponse", b"VersioningConfiguration"))
