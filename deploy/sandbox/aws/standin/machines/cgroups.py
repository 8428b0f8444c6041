"""Control groups: each machine has one in every hierarchy that matters, so that it can be ended, frozen and limited.

https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Every group that a stand-in makes at the top is named so, followed by its token.
PREFIX = "rayward-"
#: The group of the process that keeps a stand-in's machines: while it cannot be removed, that stand-in lives.
KEEPER = "keeper"
_PATIENCE_SECONDS = 5.0


class CgroupError(Exception):
    """This machine has no control groups that would do."""


@dataclass(frozen=True)
class Hierarchies:
    """Where this process's own groups are: groups of ours are made below them."""

    #: Of version 2, which ends and freezes.
    unified: Path
    #: Of version 1, which systemd wants beside it where both are mounted.
    systemd: Path | None
    #: The hierarchy that limits memory, and the name of the limit there.
    memory: Path | None
    memory_limit: str

    def all(self) -> list[Path]:
        """Each once, the unified one first."""
        return list(dict.fromkeys(each for each in (self.unified, self.systemd, self.memory) if each is not None))


def find(mounts: str, own: str) -> Hierarchies:
    """Reads the contents of /proc/self/mountinfo and /proc/self/cgroup. Raises `CgroupError`."""
    # Lines are "number:controllers:/path"; version 2 has the number 0 and no controllers.
    paths = {controllers: path for _, controllers, path in (line.split(":", 2) for line in own.splitlines())}
    found: dict[str, Path] = {}
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        root, mounted = left.split()[3:5]
        kind, _, options = right.split(" ", 2)
        names = {"": kind == "cgroup2", **dict.fromkeys(("name=systemd", "memory"), kind == "cgroup")}
        for name, of_this_kind in names.items():
            if not of_this_kind or (name and name not in options.split(",")):
                continue
            path = next((path for controllers, path in paths.items() if name in controllers.split(",")), None)
            if path is not None and (root == "/" or path == root or path.startswith(root + "/")):
                found.setdefault(name, Path(mounted) / path.removeprefix(root.rstrip("/")).lstrip("/"))
    if "" not in found:
        raise CgroupError("no control groups of version 2 are mounted under /sys/fs/cgroup")
    if "memory" in found:
        return Hierarchies(found[""], found.get("name=systemd"), found["memory"], "memory.limit_in_bytes")
    return Hierarchies(found[""], found.get("name=systemd"), found[""], "memory.max")


class Cgroups:
    """The groups of one stand-in: one at the top of each hierarchy, and in these one for each machine."""

    def __init__(self, token: str) -> None:
        """Raises `CgroupError` when there are none to be had."""
        proc = Path("/proc/self")
        self._hierarchies = find((proc / "mountinfo").read_text(), (proc / "cgroup").read_text())
        self.tops = [each / (PREFIX + token) for each in self._hierarchies.all()]
        self._remove_those_of_the_dead()
        for top in self.tops:
            try:
                top.mkdir()
            except OSError as error:
                raise CgroupError(f"{top} cannot be made: {error.strerror}. Machines need root.") from error
        if not (self.tops[0] / "cgroup.kill").exists():
            raise CgroupError("groups cannot be ended as a whole: that takes Linux 5.14 or newer")
        self._let_limit_memory()

    @property
    def limits_memory(self) -> bool:
        """Whether what is made here can have a limit."""
        limits = self._hierarchies.memory is not None and self._hierarchies.memory != self._hierarchies.unified
        return limits or "memory" in (self.tops[0] / "cgroup.subtree_control").read_text().split()

    def adopt(self, name: str, process: int) -> None:
        """Puts a process into groups of its own, so that it ends with the machines."""
        for group in self.make(name):
            (group / "cgroup.procs").write_text(str(process))

    def make(self, name: str, memory: int | None = None) -> list[Path]:
        """The groups for a machine to join, with a limit to its memory where there can be one."""
        made = [top / name for top in self.tops]
        for group in made:
            group.mkdir(exist_ok=True)
            limit = group / self._hierarchies.memory_limit
            if memory is not None and limit.exists():
                limit.write_text(str(memory))
        return made

    def kill(self, name: str) -> None:
        """Ends every process of a machine, frozen or not."""
        with _if_it_is_there():
            (self.tops[0] / name / "cgroup.kill").write_text("1")

    def freeze(self, name: str, frozen: bool) -> None:
        """Stops the time of a machine, or lets it go on."""
        with _if_it_is_there():
            (self.tops[0] / name / "cgroup.freeze").write_text("1" if frozen else "0")

    def is_frozen(self, name: str) -> bool:
        """Whether it was frozen."""
        frozen = ""
        with _if_it_is_there():
            frozen = (self.tops[0] / name / "cgroup.freeze").read_text()
        return frozen.strip() == "1"

    def remove(self, name: str) -> None:
        """Removes the groups of a machine that has ended; they are busy for a moment after that."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not all(_removed(top / name) for top in self.tops) and time.monotonic() < deadline:
            time.sleep(0.02)

    def _let_limit_memory(self) -> None:
        """Version 2 hands its controllers down step by step, and not from a group that has processes itself."""
        if self._hierarchies.memory != self._hierarchies.unified:
            return
        for group in (self._hierarchies.unified, self.tops[0]):
            with contextlib.suppress(OSError):
                (group / "cgroup.subtree_control").write_text("+memory")

    def _remove_those_of_the_dead(self) -> None:
        """What a stand-in left that was killed together with its keeper."""
        for hierarchy in self._hierarchies.all():
            for top in hierarchy.glob(PREFIX + "*"):
                if _removed(top / KEEPER):
                    _removed(top)


@contextlib.contextmanager
def _if_it_is_there() -> Iterator[None]:
    """Passes over a group that is gone, and one that goes while it is open."""
    try:
        yield
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise


def _removed(group: Path) -> bool:
    """Whether a group and those below it are gone now. One with a process in it cannot be removed."""
    for folder, _, _ in os.walk(group, topdown=False):
        try:
            Path(folder).rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True
