"""The machines' part of the control endpoint: what they are, commands in them, and what goes wrong with them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

from standin.ec2.lookup import find_instance
from standin.machines.fleet import Machines
from standin.machines.machine import Machine
from standin.world import World

_TAIL_BYTES = 4096
_EXEC_SECONDS = 60.0
#: The environment of a command, which otherwise would have this process's.
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}
#: Takes all that is free, without writing it.
_FILL = 'fallocate --length "$(df --output=avail --block-size=1 / | tail -n 1)" /.filled || test -e /.filled'


def listed(world: World, machines: Machines) -> dict[str, Any]:
    """All machines."""
    return {"machines": [_described(world, machines, each) for each in machines.all()]}


def act(machines: Machines, instance: str, action: str, body: dict[str, Any]) -> dict[str, Any]:
    """Does something to one machine. Raises `LookupError` when there is no such machine or action, `ValueError`."""
    machine, handler = machines[instance], _ACTIONS[action]
    return handler(machines, machine, **body)


def _described(world: World, machines: Machines, machine: Machine) -> dict[str, Any]:
    console = machines.console(machine.id, 0)[-_TAIL_BYTES:].decode(errors="replace")
    with world.lock:
        instance = find_instance(machine.id)
        interface = None if instance is None else instance.nics.get(0)
        return {
            "id": machine.id,
            "state": None if instance is None else instance.state,
            "power": machine.power.value,
            "address": None if interface is None else interface.private_ip_address,
            "publicAddress": None if interface is None else interface.public_ip,
            "vpc": None if interface is None else interface.vpc_id,
            "namespace": machine.id,
            "leader": machine.leader,
            "plugged": machines.network.is_plugged(machine.id),
            "frozen": machines.cgroups.is_frozen(machine.id),
            "console": console,
        }


def _exec(
    machines: Machines, machine: Machine, command: list[str], seconds: float = _EXEC_SECONDS, stdin: str = ""
) -> dict[str, Any]:
    leader = machine.leader
    if leader is None:
        raise ValueError(f"{machine.id} is {machine.power.value}: a command needs one that has begun to boot")
    if not isinstance(command, list) or not all(isinstance(each, str) for each in command):
        raise ValueError('the command is a list of texts, such as ["hostname"]')
    enter = ["nsenter", f"--target={leader}", "--all", "--root", "--wd"]
    limit = ["timeout", "--kill-after=1", str(seconds)]
    done = subprocess.run(
        [*enter, *limit, *command],
        env=_ENVIRONMENT,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        errors="replace",
    )
    return {"code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


def _cable(machines: Machines, machine: Machine, plugged: bool) -> dict[str, Any]:
    machines.network.plug(machine.id, plugged)
    return {}


def _freeze(machines: Machines, machine: Machine, frozen: bool) -> dict[str, Any]:
    machines.cgroups.freeze(machine.id, frozen)
    return {}


def _fill_disk(machines: Machines, machine: Machine, full: bool = True) -> dict[str, Any]:
    done = _exec(machines, machine, ["sh", "-c", _FILL if full else "rm -f /.filled"])
    if done["code"] != 0:
        raise ValueError(f"the disk of {machine.id} cannot be filled: {done['stderr']}")
    return {}


def _kill(machines: Machines, machine: Machine) -> dict[str, Any]:
    if not machine.kill():
        raise ValueError(f"{machine.id} is {machine.power.value} already")
    return {}


_ACTIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "exec": _exec,
    "cable": _cable,
    "freeze": _freeze,
    "fill-disk": _fill_disk,
    "kill": _kill,
}
