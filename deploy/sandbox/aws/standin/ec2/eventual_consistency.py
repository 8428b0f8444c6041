"""Eventual consistency on demand: describes answer with the state of some seconds ago.

https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from moto.ec2.models import ec2_backends

from standin.behaviours import Stage
from standin.calls import Call
from standin.ec2.existence import ids_named, not_found
from standin.ec2.registry import EC2
from standin.moto_backend import ec2
from standin.world import World


@contextmanager
def past(world: World, call: Call) -> Iterator[None]:
    """Within it, moto shows a describe the past, if the settings say so."""
    state = None
    if call.action.startswith("Describe") and world.settings.stale_seconds:
        state = world.history.at(call.account, call.region, world.settings.stale_seconds)
    if state is None:
        yield
        return
    regions: Any = ec2_backends[call.account]
    present = regions[call.region]
    dict.__setitem__(regions, call.region, state)
    try:
        yield
    finally:
        dict.__setitem__(regions, call.region, present)


@EC2.before("*", stage=Stage.EXISTENCE)
def too_new_to_be_found(world: World, call: Call) -> None:
    """With `stale_ids`, a change that names a resource made just now does not find it."""
    settings = world.settings
    if not (settings.stale_ids and settings.stale_seconds and call.is_change):
        return
    for name, each in ids_named(call.sent):
        made = world.memory.first_seen.get(each)
        if made is not None and made > time.monotonic() - settings.stale_seconds:
            raise not_found(name, each)


@EC2.before("*", stage=Stage.PREPARE)
def keep_the_past(world: World, call: Call) -> None:
    """Keeps what describes will show for a while."""
    if call.is_change and world.settings.stale_seconds:
        world.history.keep(ec2(call), world.settings.stale_seconds)
