"""The registry to which S3's behaviours add themselves, and the buckets of moto."""

from __future__ import annotations

from typing import Any

from moto.s3.models import s3_backends

from standin.behaviours import Registry

S3 = Registry()


def bucket_named(name: str) -> Any:
    """A bucket by its name, whoever owns it; None when there is none. Names are unique across accounts."""
    owner = s3_backends.bucket_accounts.get(name)
    if owner is None:
        return None
    partition, account = owner
    return s3_backends[account][partition].buckets.get(name)
