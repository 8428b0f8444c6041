"""One machine: a thread that makes it what is wished of it, again and again, until it is so."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from standin.machines.cgroups import Cgroups
from standin.machines.facts import Facts
from standin.machines.metadata import Tree
from standin.machines.network import Network

_BOOT = Path(__file__).with_name("boot")
#: Signals that systemd, as the first process, takes for these wishes (systemd(1), SIGNALS).
_POWER_OFF = signal.SIGRTMIN + 4
_REBOOT = signal.SIGRTMIN + 5
#: With this code systemd-nspawn ends when the machine has rebooted itself (systemd-nspawn(1), EXIT STATUS).
_EXIT_REBOOT = 133
#: A first process that has only begun misses signals, so they are sent again.
_AGAIN_SECONDS = 0.5


class Wish(Enum):
    """What a machine shall be."""

    ON = "on"
    #: Shut down in good order, however long that takes.
    OFF = "off"
    OFF_AT_ONCE = "off at once"
    #: Shut down in good order if that does not take long, and removed.
    GONE = "gone"
    GONE_AT_ONCE = "gone at once"


class Power(Enum):
    """What a machine is."""

    OFF = "off"
    ON = "on"
    #: Ended without having been asked to, and not in good order. It waits for a reboot, or to be switched off.
    DEAD = "dead"


class Observer(Protocol):
    """Who is told what becomes of a machine, from the machine's own thread and without any lock."""

    def off(self, machine: Machine) -> None:
        """It is off, as was wished; removed, if that was wished."""

    def shut_itself_down(self, machine: Machine) -> None:
        """It has been switched off from inside."""

    def failed(self, machine: Machine, what: str) -> None:
        """It could not be booted, or something of it is left behind."""


@dataclass(frozen=True)
class House:
    """What all machines share."""

    cgroups: Cgroups
    network: Network
    #: Where each has a folder of its own.
    folder: Path
    #: The layers of an image, the topmost first, by the image's id.
    layers: Callable[[str], list[Path]]
    #: How long a machine may take to shut down for a reboot or its end.
    patience_seconds: Callable[[], float]


class Machine:
    """One machine and its thread."""

    def __init__(
        self, facts: Callable[[], Facts], metadata: Callable[[], Tree], house: House, observer: Observer
    ) -> None:
        self.id = facts().id
        self.folder = house.folder / self.id
        self.console = self.folder / "console.log"
        self._facts = facts
        self._tree = metadata
        self._house = house
        self._observer = observer
        self._changed = threading.Condition()
        self._wish = Wish.OFF
        self._told_off = True
        self._reboot_by: float | None = None
        self._gone_by: float | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._dead = False
        #: When it booted last, on the monotonic clock, and how much it had said on its console before.
        self.booted_at, self.said_before = 0.0, 0
        self._thread = threading.Thread(target=self._live, name=self.id, daemon=True)
        self._thread.start()

    @property
    def power(self) -> Power:
        """What it is now."""
        if self._process is not None:
            return Power.ON
        return Power.DEAD if self._dead else Power.OFF

    @property
    def is_settled_off(self) -> bool:
        """Whether it is off and nothing that was wished of it remains to be done."""
        with self._changed:
            return self._told_off and self._wish is not Wish.ON

    def wish(self, wish: Wish) -> None:
        """Changes what it shall be; returns at once."""
        with self._changed:
            if self._wish in (Wish.GONE, Wish.GONE_AT_ONCE) and wish is not Wish.GONE_AT_ONCE:
                return
            self._wish = wish
            self._told_off = False
            if wish is not Wish.ON:
                self._reboot_by = None
            if wish is Wish.GONE and self._gone_by is None:
                self._gone_by = time.monotonic() + self._house.patience_seconds()
            self._changed.notify_all()

    def reboot(self) -> None:
        """Reboots it, by force when it does not do so itself in time."""
        with self._changed:
            self._reboot_by = time.monotonic() + self._house.patience_seconds()
            self._changed.notify_all()

    def join(self, seconds: float) -> None:
        """Waits until it is gone."""
        self._thread.join(seconds)

    @property
    def leader(self) -> int | None:
        """The process id, seen from here, of its first process."""
        process = self._process
        if process is None:
            return None
        try:
            outside = Path("/proc/self/ns/pid").stat().st_ino
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            # Until the machine begins, a child sets up what it will have, in this process's own namespace.
            return next((int(pid) for pid in children if Path(f"/proc/{pid}/ns/pid").stat().st_ino != outside), None)
        except OSError:
            return None

    def kill(self) -> bool:
        """Kills its first process, and with that all others. It stays as it is then, until it is rebooted."""
        return self._signal(signal.SIGKILL)

    def _live(self) -> None:
        while True:
            with self._changed:
                step = self._next_step()
                if step is None:
                    self._changed.wait(_AGAIN_SECONDS if self._is_leaving() else None)
                    continue
            step()
            if step == self._remove:
                return

    def _next_step(self) -> Callable[[], None] | None:
        """What brings it nearer to what it shall be; None when that has to be waited for."""
        now = time.monotonic()
        off = self._wish is not Wish.ON
        if self._process is None:
            if self._wish in (Wish.GONE, Wish.GONE_AT_ONCE):
                return self._remove
            if off:
                self._dead = False
                return None if self._told_off else self._tell_off
            if not self._dead or self._reboot_by is not None:
                return self._boot
            return None
        if self._process.poll() is not None:
            return self._end
        if (
            self._wish in (Wish.OFF_AT_ONCE, Wish.GONE_AT_ONCE)
            or (self._wish is Wish.GONE and now >= (self._gone_by or 0))
            or (self._reboot_by is not None and now >= self._reboot_by)
        ):
            self._house.cgroups.kill(self.id)
        elif off or self._reboot_by is not None:
            self._signal(_POWER_OFF if off else _REBOOT)
        return None

    def _signal(self, number: int) -> bool:
        """Sends its first process a signal; false when there is none."""
        leader = self.leader
        try:
            if leader is not None:
                os.kill(leader, number)
        except ProcessLookupError:
            return False
        return leader is not None

    def _is_leaving(self) -> bool:
        return self._process is not None and (self._wish is not Wish.ON or self._reboot_by is not None)

    def _end(self) -> None:
        """Puts away what is left of a machine that has ended, and finds out why it has."""
        self._leave()
        with self._changed:
            code = None if self._process is None else self._process.returncode
            self._process = None
            unasked = self._wish is Wish.ON and self._reboot_by is None and code != _EXIT_REBOOT
            self._dead = unasked
        if unasked and code == 0:
            self._observer.shut_itself_down(self)

    def _boot(self) -> None:
        facts = self._facts()
        with self._changed:
            self._dead, self._reboot_by = False, None
        try:
            self._prepare(facts)
            network = self._house.network.join(facts, self._tree)
            groups = self._house.cgroups.make(self.id, facts.memory_bytes)
            process = self._start(facts, network, groups)
        except (OSError, subprocess.SubprocessError) as error:
            self._leave()
            with self._changed:
                self._dead = True
            self._observer.failed(self, str(error))
            return
        with self._changed:
            self._process = process
        threading.Thread(target=self._watch, args=(process,), name=f"{self.id} end", daemon=True).start()

    def _prepare(self, facts: Facts) -> None:
        """Its folder with what `boot` needs, and its disk, which is made once."""
        for each in ("disk", "root", "hypervisor"):
            (self.folder / each).mkdir(parents=True, exist_ok=True)
        (self.folder / "hypervisor" / "uuid").write_text(f"ec2{str(uuid.uuid4())[3:]}\n")
        disk = self._disk
        if not disk.exists():
            # As large as it was ordered, and as small on this machine's disk as what is on it.
            with disk.open("wb") as file:
                file.truncate(facts.disk_gib << 30)
            options = ["-q", "-F", "-O", "^has_journal", "-m", "0", "-N", "1000000"]
            options += ["-E", "lazy_itable_init=1,nodiscard"]
            _run("mkfs.ext4", *options, str(disk))

    @property
    def _disk(self) -> Path:
        return self.folder / "disk.img"

    def _start(self, facts: Facts, network: Path, groups: list[Path]) -> subprocess.Popen[bytes]:
        self.booted_at = time.monotonic()
        self.said_before = self.console.stat().st_size if self.console.exists() else 0
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "GROUPS_TO_JOIN": " ".join(map(str, groups)),
            "LAYERS": ":".join(map(str, self._house.layers(facts.image))),
            "DISK": str(self._disk),
            "FOLDER": str(self.folder),
            "NAME": self.id,
            "HOST_NAME": facts.host_name,
            "NETWORK": str(network),
        }
        with self.console.open("ab") as console:
            return subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", str(_BOOT)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        with self._changed:
            self._changed.notify_all()

    def _leave(self) -> None:
        """Takes apart what only a machine that runs has."""
        self._house.cgroups.kill(self.id)
        self._house.cgroups.remove(self.id)
        try:
            self._house.network.leave(self.id)
        except OSError as error:
            self._observer.failed(self, str(error))

    def _tell_off(self) -> None:
        with self._changed:
            self._told_off = True
        self._observer.off(self)

    def _remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self._tell_off()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise OSError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
