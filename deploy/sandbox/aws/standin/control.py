"""The stand-in's own endpoint, JSON under `/_sandbox/`: calls, faults, settings, instances, machines, reset."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from standin.calls import Answer
from standin.ec2.instance_states import force_state
from standin.ec2.inventory import instances
from standin.ec2.lookup import find_instance
from standin.ec2.status_checks import set_checks
from standin.machines import control as machines_control
from standin.world import World

PREFIX = "/_sandbox/"


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def handle(world: World, method: str, environ: dict[str, Any], body: bytes) -> Answer:
    """Answers one request to the control endpoint."""
    path = environ["PATH_INFO"].removeprefix(PREFIX).strip("/").split("/")
    query = {key: values[-1] for key, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
    handler = _ROUTES.get((method, path[0]))
    try:
        if handler is None:
            known = ", ".join(f"{verb} {PREFIX}{name}" for verb, name in _ROUTES)
            raise _Refused(404, f"no {method} {environ['PATH_INFO']}; there are: {known}")
        return _json(200, handler(world, path[1:], query, _parse(body)))
    except _Refused as refused:
        return _json(refused.status, {"error": str(refused)})
    except (TypeError, ValueError) as error:
        return _json(400, {"error": str(error)})
    except OSError as error:
        return _json(500, {"error": str(error)})


def _parse(body: bytes) -> dict[str, Any]:
    parsed = json.loads(body or b"{}")
    if not isinstance(parsed, dict):
        raise ValueError("the body is not a JSON object")
    return parsed


def _json(status: int, value: Any) -> Answer:
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(value, default=str).encode())


def _health(world: World, path: list[str], query: dict[str, str], body: dict[str, Any]) -> Any:
    return {"ok": True}


def _calls(world: World, path: list[str], query: dict[str, str], body: dict[str, Any]) -> Any:
    return {"calls": world.recorder.since(int(query.get("since", "0")))}


def _forget_calls(world: World, path: list[str], query: dict[str, str], body: dict[str, Any]) -> Any:
    world.recorder.clear()
    return {}


def _add_fault(world: World, path: list[str], query: dict[str, str], body: dict[str, Any]) -> Any:
    return {"id": world.faults.add(body)}


def _list_faults(world: World, path: list[str], query: dict[str, str], body: dict[str, Any]) -> Any:
    return {"faults": world.faults.list()}


def _remove_faults(world: World, path: list[str], query: dict[str, str], body: dict[str, Any]) -> Any:
    if not path:
        world.faults.clear()
    elif not world.faults.remove(path[0]):
        raise _Refused(404, f"no fault {path[0]}")
    return {}


def _change_settings(world: World, path: list[str], query: dict[str, str], body: dict[str, Any]) -> Any:
    with world.lock:
        world.settings.update(body)
    return world.settings.as_dict()


def _settings(world: World, path: list[str], query: dict[str, str], body: dict[str, Any]) -> Any:
    return world.settings.as_dict()


def _list_instances(world: World, path: list[str], query: dict[str, str], body: dict[str, Any]) -> Any:
    with world.lock:
        world.lifecycle.advance()
        return {"instances": instances(world.memory)}


def _change_instance(world: World, path: list[str], query: dict[str, str], body: dict[str, Any]) -> Any:
    if len(path) != 2 or path[1] not in ("status", "state"):
        raise _Refused(404, "there are instances/ID/status and instances/ID/state")
    with world.lock:
        instance = find_instance(path[0])
        if instance is None:
            raise _Refused(404, f"no instance {path[0]}")
        if path[1] == "status":
            set_checks(instance, body)
        else:
            force_state(world, instance, **body)
    return {}


def _machines(world: World, path: list[str], query: dict[str, str], body: dict[str, Any]) -> Any:
    if world.machines is None:
        raise _Refused(404, "instances are records only: the stand-in was started without --machines")
    if not path:
        return machines_control.listed(world, world.machines)
    try:
        instance, action = path
        return machines_control.act(world.machines, instance, action, body)
    except LookupError as error:
        raise _Refused(404, f"there is no machine or no action {error}") from error


def _reset(world: World, path: list[str], query: dict[str, str], body: dict[str, Any]) -> Any:
    world.reset()
    return {}


_ROUTES: dict[tuple[str, str], Callable[[World, list[str], dict[str, str], dict[str, Any]], Any]] = {
    ("GET", "health"): _health,
    ("GET", "calls"): _calls,
    ("DELETE", "calls"): _forget_calls,
    ("POST", "faults"): _add_fault,
    ("GET", "faults"): _list_faults,
    ("DELETE", "faults"): _remove_faults,
    ("PUT", "settings"): _change_settings,
    ("GET", "settings"): _settings,
    ("GET", "instances"): _list_instances,
    ("POST", "instances"): _change_instance,
    ("GET", "machines"): _machines,
    ("POST", "machines"): _machines,
    ("POST", "reset"): _reset,
}
