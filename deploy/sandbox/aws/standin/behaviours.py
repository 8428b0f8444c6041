"""The registry of behaviours: functions hooked before, instead of, or after moto's own handling of an action.

A behaviour names the actions it is about and says in one function what AWS does there:

- `before`: checks the call, or changes its parameters. Raises `AwsError` to refuse it; a returned value that is not
  None is the result, and moto is not asked.
- `instead`: takes the place of moto's handler.
- `after`: sees the result and returns another one, or None to keep it.

Hooks run in the order in which their modules are imported (see `standin/ec2/dispatch.py`), under the lock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from standin.calls import Call
    from standin.world import World

Before = Callable[["World", "Call"], Any]
After = Callable[["World", "Call", Any], Any]


class Registry:
    """The behaviours of one service. Actions may be named with wildcards (`Describe*`)."""

    def __init__(self) -> None:
        self._before: list[tuple[str, Before]] = []
        self._instead: dict[str, Before] = {}
        self._after: list[tuple[str, After]] = []
        self._before_of: dict[str, list[Before]] = defaultdict(list)
        self._after_of: dict[str, list[After]] = defaultdict(list)

    def before(self, *actions: str) -> Callable[[Before], Before]:
        """Registers a hook that runs before moto."""

        def register(hook: Before) -> Before:
            self._before.extend((action, hook) for action in actions)
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
        for hook in self._hooks(self._before_of, self._before, call.action):
            result = hook(world, call)
            if result is not None:
                return result
        handler = self._instead.get(call.action)
        result = moto(call) if handler is None else handler(world, call)
        for after in self._hooks(self._after_of, self._after, call.action):
            changed = after(world, call, result)
            if changed is not None:
                result = changed
        return result

    @staticmethod
    def _hooks(known: dict[str, list[Any]], hooks: list[tuple[str, Any]], action: str) -> list[Any]:
        if action not in known:
            known[action] = [hook for pattern, hook in hooks if fnmatchcase(action, pattern)]
        return known[action]
