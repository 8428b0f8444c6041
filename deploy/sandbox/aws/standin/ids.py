"""Resource ids of EC2, such as `vpc-0a1b2c3d` or `i-0123456789abcdef0`."""

from __future__ import annotations

import re

from moto.ec2.utils import EC2_RESOURCE_TO_PREFIX

_PREFIXES = sorted({*EC2_RESOURCE_TO_PREFIX.values(), "eni-attach", "eipassoc", "key"}, key=len, reverse=True)
_ID = re.compile(rf"\b(?:{'|'.join(_PREFIXES)})-(?:[0-9a-f]{{17}}|[0-9a-f]{{8}})\b")


def ids_in(text: str) -> list[str]:
    """All ids in a text, each once, in their order."""
    return list(dict.fromkeys(_ID.findall(text)))
