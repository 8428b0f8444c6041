"""The registry to which EC2's behaviours add themselves."""

from __future__ import annotations

from standin.behaviours import Registry

EC2 = Registry()
