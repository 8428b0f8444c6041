"""Everything the stand-in holds besides moto's own resources."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TextIO

from moto.ec2.models.instances import Instance

from standin import images, moto_fixes
from standin.ec2 import status_checks
from standin.ec2.history import History
from standin.ec2.lifecycle import Lifecycle
from standin.ec2.memory import Memory
from standin.faults import Faults
from standin.moto_backend import reset_moto
from standin.namespaces import Namespaces
from standin.recorder import Recorder
from standin.settings import Settings

if TYPE_CHECKING:
    from standin.machines.fleet import Machines

moto_fixes.install()
images.install()
status_checks.install()


class World:
    """The one state of a running stand-in. Whoever touches moto, `memory` or `history` holds `lock`."""

    def __init__(self, log: TextIO | None = None, namespaces: Namespaces | None = None) -> None:
        #: moto is not thread-safe: every use of it is under this lock.
        self.lock = threading.RLock()
        self.settings = Settings()
        self.faults = Faults()
        self.recorder = Recorder(log)
        self.memory = Memory()
        self.history = History()
        self.namespaces = namespaces
        #: None when instances are records only.
        self.machines: Machines | None = None
        self.lifecycle = Lifecycle(self.lock)
        self.lifecycle.before_change.append(self._keep_the_past)
        self.lifecycle.listeners.append(self._count_capacity)
        self.lifecycle.listeners.append(self._note_boot)

    def reset(self) -> None:
        """Empties moto, the records, the faults and the settings. No machine is left then."""
        if self.machines is not None:
            self.machines.clear()
        with self.lock:
            self.lifecycle.clear()
            self.faults.clear()
            self.recorder.clear()
            self.memory.clear()
            self.history.clear()
            self.settings.update(Settings().as_dict())
            if self.namespaces is not None:
                self.namespaces.clear()
            reset_moto()
            if self.machines is not None:
                self.machines.follow_networks()

    def _count_capacity(self, instance: Instance, old: str, new: str) -> None:
        """A machine takes capacity from pending on, and gives it back when it has stopped or ended."""
        pool = f"{instance.instance_type}/{instance.placement.zone}"
        holding = instance.id in self.memory.holding
        if new == "pending" and not holding:
            self.memory.holding.add(instance.id)
            change = -1
        elif new in ("stopped", "terminated") and holding:
            self.memory.holding.discard(instance.id)
            change = 1
        else:
            return
        if pool in self.settings.capacity:
            self.settings.capacity[pool] += change

    def _note_boot(self, instance: Instance, old: str, new: str) -> None:
        if new == "running" and old != "running":
            self.memory.booted[instance.id] = time.time()

    def _keep_the_past(self, instance: Instance) -> None:
        if self.settings.stale_seconds:
            self.history.keep(instance.ec2_backend, self.settings.stale_seconds)
