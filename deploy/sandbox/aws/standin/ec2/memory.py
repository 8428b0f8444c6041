"""What EC2 remembers besides its resources."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Answered:
    """A call that carried a client token: what it asked for, and what it got."""

    params: dict[str, Any]
    result: Any


@dataclass
class Memory:
    """Kept beside moto's resources, emptied with them."""

    #: By account, region, action, zone and token.
    tokens: dict[tuple[str, str, str, str, str], Answered] = field(default_factory=dict)

    #: When an id was first answered, on the monotonic clock.
    first_seen: dict[str, float] = field(default_factory=dict)

    #: Ids of the instances that take capacity.
    holding: set[str] = field(default_factory=set)

    #: Ids of the instances that have been running once.
    have_run: set[str] = field(default_factory=set)

    #: When each instance booted last, as a Unix time.
    booted: dict[str, float] = field(default_factory=dict)

    def clear(self) -> None:
        """Forgets everything."""
        self.tokens.clear()
        self.first_seen.clear()
        self.holding.clear()
        self.have_run.clear()
        self.booted.clear()
