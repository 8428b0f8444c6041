"""Faults on demand: which calls fail, how, and how often."""

from __future__ import annotations

import itertools
import random
import threading
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

from standin.calls import Call
from standin.errors import AwsError

Kind = Literal["throttle", "capacity", "quota", "error", "lost-response", "delay", "unavailable", "timeout"]

_QUOTAS = {
    "CreateVpc": ("VpcLimitExceeded", "The maximum number of VPCs has been reached."),
    "CreateInternetGateway": (
        "InternetGatewayLimitExceeded",
        "The maximum number of internet gateways has been reached.",
    ),
    "AllocateAddress": ("AddressLimitExceeded", "The maximum number of addresses has been reached."),
    "CreateSubnet": ("SubnetLimitExceeded", "The maximum number of subnets has been reached."),
    "CreateSecurityGroup": ("SecurityGroupLimitExceeded", "The maximum number of security groups has been reached."),
    "CreateRouteTable": ("RouteTableLimitExceeded", "The maximum number of route tables has been reached."),
    "CreateVolume": ("VolumeLimitExceeded", "You have exceeded your volume quota."),
    "CreateBucket": ("TooManyBuckets", "You have attempted to create more buckets than allowed."),
}


@dataclass
class Fault:
    """One fault: what it matches, what it does, how often it has fired."""

    action: str
    kind: Kind
    service: str | None = None
    #: How often it fires before it is spent; 0 is until it is removed.
    times: int = 1
    probability: float = 1.0
    code: str | None = None
    message: str | None = None
    status: int | None = None
    #: For `delay` and `timeout`.
    seconds: float = 1.0
    #: Parameters that must be in the call with these values, nested as in the API.
    params: dict[str, Any] = field(default_factory=dict)
    id: str = ""
    fired: int = 0

    def matches(self, call: Call) -> bool:
        """Whether the fault is about this call, ignoring `times` and `probability`."""
        return (
            fnmatchcase(call.action, self.action)
            and self.service in (None, call.service)
            and _contains(call.params, self.params)
        )

    def error(self, call: Call) -> AwsError:
        """The error that a fault of a refusing kind answers with."""
        code, message, status = self._standard(call)
        return AwsError(self.code or code, self.message or message, self.status or status)

    def _standard(self, call: Call) -> tuple[str, str, int]:
        if self.kind == "throttle":
            if call.service == "s3":
                return "SlowDown", "Please reduce your request rate.", 503
            if call.service == "ec2":
                return "RequestLimitExceeded", "Request limit exceeded.", 503
            if call.service == "ssm":
                return "ThrottlingException", "Rate exceeded", 400
            return "Throttling", "Rate exceeded", 400
        if self.kind == "capacity":
            wanted = call.params.get("InstanceType", "requested")
            return (
                "InsufficientInstanceCapacity",
                f"We currently do not have sufficient {wanted} capacity in the Availability Zone you requested.",
                500,
            )
        if self.kind == "quota":
            if call.action in _QUOTAS:
                return *_QUOTAS[call.action], 400
            return (
                "VcpuLimitExceeded",
                "You have requested more vCPU capacity than your current vCPU limit allows for the instance bucket "
                "that the specified instance type belongs to.",
                400,
            )
        if self.kind == "unavailable":
            if call.service == "s3":
                return "ServiceUnavailable", "Service is unable to handle request.", 503
            return "Unavailable", "The service is unavailable. Please try again shortly.", 503
        return "InternalError", "An internal error has occurred.", 500


class Faults:
    """The faults that wait to fire."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._faults: dict[str, Fault] = {}

    def add(self, spec: dict[str, Any]) -> str:
        """Adds a fault from its JSON form and returns its id. Raises `ValueError` when the form is not right."""
        fault = _parse(spec)
        with self._lock:
            fault.id = f"fault-{next(self._ids)}"
            self._faults[fault.id] = fault
            return fault.id

    def take(self, call: Call) -> Fault | None:
        """The oldest fault that fires on this call; it is counted."""
        with self._lock:
            for fault in self._faults.values():
                spent = fault.times != 0 and fault.fired >= fault.times
                if spent or not fault.matches(call) or random.random() >= fault.probability:
                    continue
                fault.fired += 1
                return fault
        return None

    def list(self) -> list[dict[str, Any]]:
        """All faults, the spent ones too, with how often each fired."""
        with self._lock:
            return [asdict(fault) for fault in self._faults.values()]

    def remove(self, fault_id: str) -> bool:
        """Removes one fault; false when there is none of this id."""
        with self._lock:
            return self._faults.pop(fault_id, None) is not None

    def clear(self) -> None:
        """Removes all faults."""
        with self._lock:
            self._faults.clear()


def _parse(spec: dict[str, Any]) -> Fault:
    known = {each.name for each in fields(Fault)} - {"id", "fired"}
    if unknown := set(spec) - known:
        raise ValueError(f"unknown {', '.join(sorted(unknown))}; a fault has: {', '.join(sorted(known))}")
    if missing := {"action", "kind"} - set(spec):
        raise ValueError(f"a fault needs {' and '.join(sorted(missing))}")
    if spec["kind"] not in get_args(Kind):
        raise ValueError(f"kind {spec['kind']!r} is none of: {', '.join(get_args(Kind))}")
    return Fault(**spec)


def _contains(actual: Any, wanted: Any) -> bool:
    """Whether `wanted` is a part of `actual`: for a list, each wanted element is somewhere in it."""
    if isinstance(wanted, dict):
        return isinstance(actual, dict) and all(_contains(actual.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(actual, list) and all(any(_contains(have, want) for have in actual) for want in wanted)
    return bool(actual == wanted) or str(actual) == wanted
