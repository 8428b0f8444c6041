"""Attributes that can be changed on a stopped instance only."""

from __future__ import annotations

from standin.calls import Call
from standin.ec2.existence import find
from standin.ec2.registry import EC2
from standin.errors import AwsError
from standin.moto_backend import ec2
from standin.world import World

_WHILE_STOPPED = ("InstanceType", "UserData", "Kernel", "Ramdisk", "EbsOptimized")


@EC2.before("ModifyInstanceAttribute")
def check_state(world: World, call: Call) -> None:
    """The type of a running instance cannot be changed, for one."""
    instance = find(ec2(call), call.params["InstanceId"])
    if any(name in call.params for name in _WHILE_STOPPED) and instance.state != "stopped":
        raise AwsError("IncorrectInstanceState", f"The instance '{instance.id}' is not in the 'stopped' state.")
