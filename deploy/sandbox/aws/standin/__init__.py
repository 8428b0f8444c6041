"""A local stand-in for AWS: moto behind a layer that adds what real AWS does and moto does not.

One HTTP server answers EC2, S3, SSM and STS on one loopback address, as the SDKs expect with `AWS_ENDPOINT_URL`, and an
endpoint of its own under `/_sandbox/` injects faults, changes settings and lists the calls that were made.
"""

import os

# moto reads these when any part of it is imported.
os.environ.update(
    MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION="true",
    MOTO_ENABLE_AMI_VALIDATION="true",
    MOTO_ENABLE_KEYPAIR_VALIDATION="true",
    TEST_SERVER_MODE="true",
)
