"""What EC2 was like some seconds ago."""

from __future__ import annotations

import copy
import time

from moto.core.model_instances import reset_model_data
from moto.ec2.models import EC2Backend


class History:
    """States of EC2, by account and region, each kept from before a change until it is too old to be asked for."""

    def __init__(self) -> None:
        self._states: dict[tuple[str, str], list[tuple[float, EC2Backend]]] = {}

    def keep(self, backend: EC2Backend, seconds: float) -> None:
        """Keeps the state as it is, right before something changes it."""
        states = self._states.setdefault((backend.account_id, backend.region_name), [])
        now = time.monotonic()
        states[:] = [each for each in states if each[0] > now - seconds]
        # Images and their snapshots are many, and nothing here changes them.
        shared = {id(each): each for each in (backend.amis, backend.snapshots)}
        states.append((now, copy.deepcopy(backend, shared)))
        # moto lists every object it makes, for a dashboard that does not exist here; the copies would stay for ever.
        reset_model_data()

    def at(self, account: str, region: str, seconds: float) -> EC2Backend | None:
        """The state of this many seconds ago; None when nothing has changed since."""
        moment = time.monotonic() - seconds
        states = self._states.get((account, region), [])
        return next((state for kept, state in states if kept > moment), None)

    def clear(self) -> None:
        """Forgets all states."""
        self._states.clear()
