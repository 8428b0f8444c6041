"""How many instances AWS can start now: the settings' `capacity`, by type and zone.

An instance takes capacity when it becomes pending, and gives it back when it has stopped or ended.
"""

from __future__ import annotations

from moto.ec2.models.instances import Instance

from standin.behaviours import Stage
from standin.calls import Call
from standin.ec2.existence import find
from standin.ec2.lookup import instances_named
from standin.ec2.private_addresses import free_addresses
from standin.ec2.registry import EC2
from standin.ec2.zones import zone_of
from standin.errors import AwsError
from standin.moto_backend import ec2
from standin.world import World


@EC2.before("RunInstances")
def check_launch(world: World, call: Call) -> None:
    """Fewer than MinCount is a refusal."""
    wanted, zone = call.params.get("InstanceType", "m1.small"), zone_of(call)
    free = world.settings.capacity.get(f"{wanted}/{zone}")
    if free is not None and free < call.params["MinCount"]:
        raise _none(wanted, zone)


@EC2.before("RunInstances", stage=Stage.PREPARE)
def launch_as_many_as_possible(world: World, call: Call) -> None:
    """As many as there are capacity and addresses for, MaxCount at most. moto launches MinCount."""
    pool = f"{call.params.get('InstanceType', 'm1.small')}/{zone_of(call)}"
    count = call.params["MaxCount"]
    possible = min(count, world.settings.capacity.get(pool, count))
    for each in call.params.get("NetworkInterfaces") or [call.params]:
        subnet = find(ec2(call), each.get("SubnetId") or "")
        if subnet is not None:
            possible = min(possible, len(free_addresses(subnet, count)))
    call.params["MinCount"] = possible


@EC2.before("StartInstances")
def check_start(world: World, call: Call) -> None:
    """A start needs capacity as a launch does."""
    needed: dict[str, int] = {}
    for instance in instances_named(call):
        if instance.state == "stopped":
            pool = _pool(instance)
            needed[pool] = needed.get(pool, 0) + 1
    for pool, count in needed.items():
        free = world.settings.capacity.get(pool)
        if free is not None and free < count:
            raise _none(*pool.split("/"))


def _pool(instance: Instance) -> str:
    return f"{instance.instance_type}/{instance.placement.zone}"


def _none(wanted: str, zone: str) -> AwsError:
    return AwsError(
        "InsufficientInstanceCapacity",
        f"We currently do not have sufficient {wanted} capacity in the Availability Zone you requested ({zone}). "
        "Our system will be working on provisioning additional capacity.",
        500,
    )
