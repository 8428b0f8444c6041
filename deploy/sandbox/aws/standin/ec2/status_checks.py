"""Status checks, which fail when the control endpoint says so."""

from __future__ import annotations

from typing import Any

from moto.ec2.models.instances import Instance

STATUSES = ("ok", "impaired", "insufficient-data")
CHECKS = ("instance", "system")

_REACHABILITY = {"ok": "passed", "impaired": "failed", "insufficient-data": "insufficient-data"}


def set_checks(instance: Instance, checks: dict[str, str]) -> None:
    """Sets the `instance` or the `system` check, or both. Raises `ValueError` on others."""
    for check, status in checks.items():
        if check not in CHECKS or status not in STATUSES:
            raise ValueError(f"give {' or '.join(CHECKS)} one of {', '.join(STATUSES)}; not {check} {status!r}")
    setattr(instance, "checks", {**getattr(instance, "checks", {}), **checks})


def forget_checks(instance: Instance) -> None:
    """All checks are well again, as after a start, which puts the instance on another host."""
    setattr(instance, "checks", {})


def described(instance: Instance, check: str) -> dict[str, Any]:
    """A check as DescribeInstanceStatus shows it. Only running instances have any."""
    if instance.state != "running":
        return {"Status": "not-applicable"}
    status = getattr(instance, "checks", {}).get(check, "ok")
    return {"Status": status, "Details": [{"Name": "reachability", "Status": _REACHABILITY[status]}]}


def install() -> None:
    """moto says that every running instance is well; from here on, it says what was set."""
    setattr(Instance, "instance_status", property(lambda instance: described(instance, "instance")))
    setattr(Instance, "system_status", property(lambda instance: described(instance, "system")))
