"""The registry of behaviours: functions hooked before, instead of, or after moto's own handling of an action.

A behaviour names the actions it is about and says in one function what AWS does there:

- `before`: checks the call, or changes its parameters. Raises `AwsError` to refuse it; a returned value that is not
  None is the result, and moto is not asked.
- `instead`: takes the place of moto's handler.
- `after`: sees the result and returns another one, or None to keep it.

Hooks run under the lock. Those before moto run in the order of their stages; what `Stage` says of each is its contract.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from fnmatch import fnmatchcase
from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from standin.calls import Call
    from standin.world import World

Before = Callable[["World", "Call"], Any]
After = Callable[["World", "Call", Any], Any]


class Stage(IntEnum):
    """When a hook runs before moto."""

    #: Refuses an incomplete request.
    FORM = 1
    #: Recognises a repeated call and answers it.
    REPETITION = 2
    #: Refuses what names something that does not exist.
    EXISTENCE = 3
    #: Refuses for any other reason. Changes nothing, so that a dry run gets the same answer.
    CHECK = 4
    #: Ends a dry run.
    DRY_RUN = 5
    #: Rewrites the parameters for moto, and notes what is about to change.
    PREPARE = 6


class Registry:
    """The behaviours of one service. Actions may be named with wildcards (`Describe*`)."""

    def __init__(self) -> None:
        self._before: list[tuple[Stage, str, Before]] = []
        self._instead: dict[str, Before] = {}
        self._after: list[tuple[str, After]] = []

    def before(self, *actions: str, stage: Stage = Stage.CHECK) -> Callable[[Before], Before]:
        """Registers a hook that runs before moto."""

        def register(hook: Before) -> Before:
            self._before.extend((stage, action, hook) for action in actions)
            return hook

        return register

    def instead(self, action: str) -> Callable[[Before], Before]:
        """Registers a handler in the place of moto's."""

        def register(hook: Before) -> Before:
            self._instead[action] = hook
            return hook

        return register

    def after(self, *actions: str) -> Callable[[After], After]:
        """Registers a hook that runs after moto, on its result."""

        def register(hook: After) -> After:
            self._after.extend((action, hook) for action in actions)
            return hook

        return register

    def run(self, world: World, call: Call, moto: Callable[[Call], Any]) -> Any:
        """Handles one call: hooks, moto (or what stands in its place), hooks."""
        for _, action, hook in sorted(self._before, key=itemgetter(0)):
            if fnmatchcase(call.action, action) and (result := hook(world, call)) is not None:
                return result
        handler = self._instead.get(call.action)
        result = moto(call) if handler is None else handler(world, call)
        for action, after in self._after:
            if fnmatchcase(call.action, action) and (changed := after(world, call, result)) is not None:
                result = changed
        return result
