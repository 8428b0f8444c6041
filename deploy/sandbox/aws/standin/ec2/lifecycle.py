"""Time in the life of an instance: pending, stopping and shutting-down end after a while.

`listeners` is where something else follows the instances, such as a machine that boots with each of them.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from moto.ec2.models.instances import Instance

#: Codes of the states, from the API reference of InstanceState.
CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}

#: Called under the lock with the instance, its old state ("" when it is new) and its new one.
Listener = Callable[[Instance, str, str], None]


@dataclass(order=True)
class _Step:
    due: float
    number: int
    instance: Any = field(compare=False)
    action: Callable[[Instance], None] = field(compare=False)


class Lifecycle:
    """Puts instances into states, and carries out what is due."""

    def __init__(self, lock: threading.RLock) -> None:
        self.listeners: list[Listener] = []
        #: Asked under the lock whether an instance's machine is on; without machines, none is.
        self.is_on: Callable[[Instance], bool] = lambda instance: False
        #: Called under the lock before something that is due changes an instance.
        self.before_change: list[Callable[[Instance], None]] = []
        self._lock = lock
        self._numbers = itertools.count()
        self._steps: list[_Step] = []
        self._known: set[str] = set()
        #: What becomes of an instance when its machine is off, by its id.
        self._awaited: dict[str, Callable[[Instance], None]] = {}
        self._wake = threading.Condition(lock)
        threading.Thread(target=self._tick, name="lifecycle", daemon=True).start()

    def enter(self, instance: Instance, state: str) -> None:
        """Puts an instance into a state at once, and drops what was planned for it."""
        old = "" if instance.id not in self._known else instance.state
        self._known.add(instance.id)
        self._awaited.pop(instance.id, None)
        self._steps = [step for step in self._steps if step.instance is not instance]
        heapq.heapify(self._steps)
        instance._state.name, instance._state.code = state, CODES[state]
        for listener in self.listeners:
            listener(instance, old, state)

    def later(self, instance: Instance, seconds: float, action: Callable[[Instance], None]) -> None:
        """Plans what happens to an instance next."""
        heapq.heappush(self._steps, _Step(time.monotonic() + seconds, next(self._numbers), instance, action))
        self._wake.notify()

    def when_off(self, instance: Instance, seconds: float, action: Callable[[Instance], None]) -> None:
        """Plans what happens to an instance when its machine is off, and not before some seconds have passed."""

        def attempt(each: Instance) -> None:
            if self.is_on(each):
                self._awaited[each.id] = action
            else:
                action(each)

        self.later(instance, seconds, attempt)

    def is_off(self, instance: Instance) -> None:
        """Carries out what has waited for a machine to be off."""
        action = self._awaited.pop(instance.id, None)
        if action is not None:
            self.about_to_change(instance)
            action(instance)

    def advance(self) -> None:
        """Carries out everything that is due. Called before each EC2 call, so that no answer is late."""
        while self._steps and self._steps[0].due <= time.monotonic():
            step = heapq.heappop(self._steps)
            self.about_to_change(step.instance)
            step.action(step.instance)

    def about_to_change(self, instance: Instance) -> None:
        """Tells the observers that something else than a call changes an instance."""
        for observer in self.before_change:
            observer(instance)

    def clear(self) -> None:
        """Forgets all plans."""
        self._steps.clear()
        self._known.clear()
        self._awaited.clear()

    def _tick(self) -> None:
        with self._wake:
            while True:
                self.advance()
                self._wake.wait(self._steps[0].due - time.monotonic() if self._steps else None)
