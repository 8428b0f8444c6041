"""Everything the stand-in holds besides moto's own resources."""

from __future__ import annotations

import threading
from typing import TextIO

from standin import images, moto_fixes
from standin.ec2.lifecycle import Lifecycle
from standin.ec2.memory import Memory
from standin.faults import Faults
from standin.moto_backend import reset_moto
from standin.recorder import Recorder
from standin.settings import Settings

moto_fixes.install()
images.install()


class World:
    """The one state of a running stand-in. Whoever touches moto or `memory` holds `lock`."""

    def __init__(self, log: TextIO | None = None) -> None:
        #: moto is not thread-safe: every use of it is under this lock.
        self.lock = threading.RLock()
        self.settings = Settings()
        self.faults = Faults()
        self.recorder = Recorder(log)
        self.memory = Memory()
        self.lifecycle = Lifecycle(self.lock)

    def reset(self) -> None:
        """Empties moto, the records, the faults and the settings."""
        with self.lock:
            self.lifecycle.clear()
            self.faults.clear()
            self.recorder.clear()
            self.memory.clear()
            self.settings.update(Settings().as_dict())
            reset_moto()
