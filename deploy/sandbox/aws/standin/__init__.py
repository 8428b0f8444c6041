"""A local stand-in for AWS: moto behind a layer that adds what real AWS does and moto does not.

One HTTP server answers EC2, S3, SSM and STS on one loopback address, as the SDKs expect with `AWS_ENDPOINT_URL`, and an
endpoint of its own under `/_sandbox/` injects faults, changes settings and lists the calls that were made.
"""

import os
from typing import Any

import boto3

# moto reads these when any part of it is imported.
os.environ.update(
    MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION="true",
    MOTO_ENABLE_AMI_VALIDATION="true",
    MOTO_ENABLE_KEYPAIR_VALIDATION="true",
    # A thousand old images cost a quarter of a second whenever a region is first used; images.py loads what is needed.
    MOTO_EC2_LOAD_DEFAULT_AMIS="false",
    TEST_SERVER_MODE="true",
)


def _read_endpoints_once() -> None:
    """moto asks new sessions for the regions while it is imported, and each parses all of AWS's endpoints again."""
    session = boto3.Session()
    available = boto3.Session.get_available_regions

    def get_available_regions(_: boto3.Session, *arguments: Any, **named: Any) -> Any:
        return available(session, *arguments, **named)

    setattr(boto3.Session, "get_available_regions", get_available_regions)


_read_endpoints_once()
