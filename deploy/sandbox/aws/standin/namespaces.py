"""A network namespace for each VPC: the boundary in which the machines of that VPC will run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable


class NamespaceError(OSError):
    """A namespace could not be made or removed."""


class Namespaces:
    """The namespaces that this process has made; no other one is ever touched."""

    def __init__(self, announce: Callable[[str], None] = lambda name: None) -> None:
        """`announce` is told each name before there is a namespace of it."""
        self._made: set[str] = set()
        self._announce = announce

    def check(self) -> None:
        """Makes a namespace and removes it again. Raises `NamespaceError` when this machine does not allow that."""
        name = f"standin-check-{os.getpid()}"
        self.add(name)
        self.remove(name)

    def add(self, name: str) -> None:
        """Makes a namespace with its loopback interface up."""
        self._announce(name)
        _ip("netns", "add", name)
        self._made.add(name)
        _ip("-netns", name, "link", "set", "lo", "up")

    def remove(self, name: str) -> None:
        """Removes a namespace; one that was not made here stays as it is."""
        if name in self._made:
            _ip("netns", "delete", name)
            self._made.discard(name)

    def clear(self) -> None:
        """Removes all that were made here."""
        for name in sorted(self._made):
            self.remove(name)


def _ip(*arguments: str) -> None:
    command = ["ip", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except FileNotFoundError:
        raise NamespaceError("the command `ip` is missing: install the package iproute2") from None
    if done.returncode != 0:
        raise NamespaceError(
            f"`{' '.join(command)}` failed: {done.stderr.strip()}. Network namespaces need root, or a user namespace "
            "with its own mounts (`unshare -Urnm`); without --network-namespaces the stand-in does without them."
        )
