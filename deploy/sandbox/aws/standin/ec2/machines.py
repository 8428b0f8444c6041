"""What the machines, if there are any, have to know of calls: changes of their networks; and what they say themselves.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-console.html
"""

from __future__ import annotations

import base64
from typing import Any

from moto.core.utils import utcnow

from standin.calls import Call
from standin.ec2.existence import find
from standin.ec2.registry import EC2
from standin.moto_backend import ec2
from standin.world import World

#: AWS keeps the last 64 KB.
_MOST_BYTES = 64 * 1024


@EC2.after("*")
def follow_changes(world: World, call: Call, result: Any) -> None:
    """Routes, addresses, groups and rules take effect on machines that run."""
    if world.machines is not None and call.is_change:
        world.machines.follow_networks()


@EC2.after("GetConsoleOutput")
def console(world: World, call: Call, result: Any) -> Any:
    """What the machine said: all of it with `Latest`, otherwise what it had said some time ago."""
    instance = find(ec2(call), call.params["InstanceId"])
    if world.machines is None:
        consoles = world.settings.consoles
        said = consoles.get(instance.id, consoles.get("*", "")).encode()
    else:
        age = 0.0 if call.params.get("Latest") else world.settings.console_seconds
        said = world.machines.console(instance.id, age)
    said = said[-_MOST_BYTES:]
    return {"InstanceId": instance.id, "Timestamp": utcnow(), "Output": base64.b64encode(said).decode()}
