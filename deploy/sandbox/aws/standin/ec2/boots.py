"""When instances booted last: nothing else tells of a reboot, since the state stays `running`."""

from __future__ import annotations

import time
from typing import Any

from standin.calls import Call
from standin.ec2.lookup import instances_named
from standin.ec2.registry import EC2
from standin.world import World


@EC2.after("RebootInstances")
def note_reboots(world: World, call: Call, result: Any) -> None:
    """Those that run boot anew. The World notes the boot of an instance that begins to run."""
    for instance in instances_named(call):
        if instance.state == "running":
            world.memory.booted[instance.id] = time.time()
