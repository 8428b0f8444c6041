"""What a test may turn while the stand-in runs (`PUT /_sandbox/settings`)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass
class Settings:
    """All settings, with their defaults. Durations are in seconds unless the name says otherwise."""

    #: Added to every AWS call, outside the lock: concurrent calls overlap.
    delay_ms: float = 0.0
    #: How long a launched or started instance stays `pending`.
    pending_seconds: float = 0.5
    #: How long a stopped instance stays `stopping`.
    stopping_seconds: float = 0.5
    #: How long a terminated instance stays `shutting-down`.
    shutting_down_seconds: float = 0.5
    #: How long a machine may take to shut down for a reboot or its end before it is forced to (minutes on AWS).
    patience_seconds: float = 20.0
    #: How long after a boot GetConsoleOutput shows what the machine says, unless it asks for the latest.
    console_seconds: float = 120.0
    #: What instances say on their consoles where they are records only, by id, or by `*` for all that are not listed.
    consoles: dict[str, str] = field(default_factory=dict)
    #: How long a terminated instance is still described (about an hour on AWS).
    forget_terminated_seconds: float = 60.0
    #: EC2 describes answer with the state of this many seconds ago.
    stale_seconds: float = 0.0
    #: While `stale_seconds` has not passed since its creation, other calls that name a resource do not find it either.
    stale_ids: bool = False
    #: How many of the next launched instances never leave `pending`.
    stuck_pending: int = 0
    #: Free capacity by "type/zone"; a pair that is not listed has no limit.
    capacity: dict[str, int] = field(default_factory=dict)
    #: Account ids by access key; a key that is not listed belongs to the default account.
    accounts: dict[str, str] = field(default_factory=dict)

    def update(self, changes: dict[str, Any]) -> None:
        """Applies some settings, all or none.

        Raises `ValueError` on an unknown name or a value of the wrong kind.
        """
        kinds = {each.name: getattr(Settings(), each.name) for each in fields(self)}
        for name, value in changes.items():
            if name not in kinds:
                raise ValueError(f"unknown setting {name!r}; there are: {', '.join(sorted(kinds))}")
            _check(name, value, kinds[name])
        for name, value in changes.items():
            setattr(self, name, value)

    def as_dict(self) -> dict[str, Any]:
        """All settings by name."""
        return asdict(self)


def _check(name: str, value: Any, default: Any) -> None:
    if isinstance(default, bool):
        right = isinstance(value, bool)
    elif isinstance(default, dict):
        kind = int if name == "capacity" else str
        right = isinstance(value, dict) and all(isinstance(each, kind) for each in value.values())
    else:
        kinds = (int,) if isinstance(default, int) else (int, float)
        right = isinstance(value, kinds) and not isinstance(value, bool) and value >= 0
    if not right:
        raise ValueError(f"{name} cannot be {value!r}: give something like {default!r}, not negative")
