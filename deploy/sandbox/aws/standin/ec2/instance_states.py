"""Run, start, stop, reboot and terminate: the states in between, and what each state takes away.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.core.utils import utcnow
from moto.ec2.models.instances import Instance, Reservation, StateReason

from standin.calls import Call
from standin.ec2.existence import find
from standin.ec2.lifecycle import CODES
from standin.ec2.lookup import instances_named
from standin.ec2.public_addresses import assign, release
from standin.ec2.registry import EC2
from standin.ec2.status_checks import forget_checks
from standin.errors import AwsError
from standin.world import World

_USER = "Client.UserInitiatedShutdown"
_INSTANCE = "Client.InstanceInitiatedShutdown"


@EC2.after("RunInstances")
def begin_pending(world: World, call: Call, result: Reservation) -> None:
    """A launched instance is pending first."""
    for instance in result.instances:
        instance.client_token = call.params.get("ClientToken", "")
        _begin(world, instance)


@EC2.instead("StartInstances")
def start(world: World, call: Call) -> Any:
    """Starts stopped instances; running ones stay as they are."""
    instances = instances_named(call)
    _refuse(instances, ("stopping", "shutting-down", "terminated"), "started")

    def one(instance: Instance) -> None:
        if instance.state == "stopped":
            instance._reason = ""
            instance.state_reason = StateReason()
            instance.launch_time = utcnow()
            forget_checks(instance)
            _begin(world, instance)

    return {"StartingInstances": [_changed(instance, one) for instance in instances]}


@EC2.instead("StopInstances")
def stop(world: World, call: Call) -> Any:
    """Stops running instances; their automatic public addresses go, the private ones stay. `Force` pulls the plug.

    One that starts again can be stopped while it is pending; one that never ran cannot.
    """
    instances = instances_named(call)
    _refuse(instances, ("shutting-down", "terminated"), "stopped")
    for instance in instances:
        if instance.id not in world.memory.have_run:
            raise AwsError(
                "IncorrectInstanceState",
                f"Instance '{instance.id}' cannot be stopped as it has never reached the 'running' state.",
            )
        if instance.disable_api_stop:
            raise AwsError(
                "OperationNotPermitted",
                f"The instance '{instance.id}' may not be stopped. Modify its 'disableApiStop' instance attribute.",
            )

    def one(instance: Instance) -> None:
        if instance.state in ("pending", "running"):
            _user_initiated(instance)
            _halt(world, instance)
        if call.params.get("Force") and world.machines is not None and instance.state == "stopping":
            world.machines.force_off(instance)

    return {"StoppingInstances": [_changed(instance, one) for instance in instances]}


@EC2.instead("RebootInstances")
def reboot(world: World, call: Call) -> Any:
    """Reboots running instances; their state stays `running`."""
    instances = instances_named(call)
    _refuse(instances, ("stopping", "stopped", "shutting-down", "terminated"), "rebooted")
    if world.machines is not None:
        for instance in instances:
            world.machines.reboot(instance)
    return {}


@EC2.instead("TerminateInstances")
def terminate(world: World, call: Call) -> Any:
    """Ends instances in whatever state they are."""
    instances = instances_named(call)
    for instance in instances:
        if instance.disable_api_termination:
            raise AwsError(
                "OperationNotPermitted",
                f"The instance '{instance.id}' may not be terminated. "
                "Modify its 'disableApiTermination' instance attribute and try again.",
            )

    def one(instance: Instance) -> None:
        if instance.state not in ("shutting-down", "terminated"):
            _user_initiated(instance)
            _shut_down(world, instance)

    return {"TerminatingInstances": [_changed(instance, one) for instance in instances]}


def force_state(world: World, instance: Instance, state: str, code: str = "", message: str = "") -> None:
    """Puts an instance into a state that nobody asked AWS for, as a failing host does.

    `code` and `message` become its state reason. Raises `ValueError` for a state that is not a lasting one.
    """
    if state not in ("running", "stopped", "terminated"):
        raise ValueError(f"an instance can be made running, stopped or terminated, not {state!r}")
    world.lifecycle.about_to_change(instance)
    instance._reason = message
    instance.state_reason = StateReason(f"{code}: {message}" if code else message, code)
    if state == "terminated":
        _end(world, instance)
    elif state == "running":
        _run(world, instance)
    else:
        for interface in instance.nics.values():
            release(interface)
        world.lifecycle.enter(instance, state)


def shut_itself_down(world: World, instance: Instance) -> None:
    """What a machine that is switched off from inside does: it stops, or ends when it was launched to do that."""
    if instance.state not in ("pending", "running"):
        return
    world.lifecycle.about_to_change(instance)
    instance._reason = ""
    instance.state_reason = StateReason(f"{_INSTANCE}: Instance initiated shutdown", _INSTANCE)
    if instance.instance_initiated_shutdown_behavior == "terminate":
        _shut_down(world, instance)
    else:
        _halt(world, instance)


def _halt(world: World, instance: Instance) -> None:
    for interface in instance.nics.values():
        release(interface)
    world.lifecycle.enter(instance, "stopping")
    world.lifecycle.when_off(
        instance, world.settings.stopping_seconds, lambda each: world.lifecycle.enter(each, "stopped")
    )


def _shut_down(world: World, instance: Instance) -> None:
    world.lifecycle.enter(instance, "shutting-down")
    world.lifecycle.when_off(instance, world.settings.shutting_down_seconds, lambda each: _end(world, each))


def _begin(world: World, instance: Instance) -> None:
    world.lifecycle.enter(instance, "pending")
    if world.settings.stuck_pending > 0:
        world.settings.stuck_pending -= 1
        return
    world.lifecycle.later(instance, world.settings.pending_seconds, lambda each: _run(world, each))


def _run(world: World, instance: Instance) -> None:
    for interface in instance.nics.values():
        assign(interface)
    world.memory.have_run.add(instance.id)
    world.lifecycle.enter(instance, "running")


def _end(world: World, instance: Instance) -> None:
    """What is left of a terminated instance has no tags, disks, interfaces, addresses, groups or subnet."""
    backend = instance.ec2_backend
    for interface in list(instance.nics.values()):
        for address in backend.addresses:
            if address.eni is interface:
                backend.disassociate_address(association_id=address.association_id)
    interfaces = list(instance.nics.values())
    owned = [instance.id, *(interface.id for interface in interfaces)]
    owned += [disk.volume_id for disk in instance.block_device_mapping.values()]
    reason = instance._reason, instance.state_reason
    instance.terminate()
    instance._reason, instance.state_reason = reason
    for interface in interfaces:
        if interface.id in backend.enis:
            instance.detach_eni(interface)
    instance.nics.clear()
    instance._subnet_id = None
    instance._private_ips.clear()
    instance.security_groups = []
    for each in owned:
        if each == instance.id or find(backend, each) is None:
            backend.tags.pop(each, None)
    world.lifecycle.enter(instance, "terminated")
    world.lifecycle.later(instance, world.settings.forget_terminated_seconds, _forget)


def _forget(instance: Instance) -> None:
    reservations = instance.ec2_backend.reservations
    for reservation in list(reservations.values()):
        reservation.instances = [each for each in reservation.instances if each is not instance]
        if not reservation.instances:
            del reservations[reservation.id]


def _user_initiated(instance: Instance) -> None:
    instance._reason = f"User initiated ({utcnow():%Y-%m-%d %H:%M:%S} GMT)"
    instance.state_reason = StateReason(f"{_USER}: User initiated shutdown", _USER)


def _changed(instance: Instance, change: Callable[[Instance], None]) -> dict[str, Any]:
    previous = instance.state
    change(instance)
    return {
        "InstanceId": instance.id,
        "PreviousState": {"Name": previous, "Code": CODES[previous]},
        "CurrentState": {"Name": instance.state, "Code": instance.state_code},
    }


def _refuse(instances: list[Instance], states: tuple[str, ...], verb: str) -> None:
    for instance in instances:
        if instance.state in states:
            raise AwsError(
                "IncorrectInstanceState",
                f"The instance '{instance.id}' is not in a state from which it can be {verb}.",
            )
