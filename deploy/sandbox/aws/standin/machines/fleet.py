"""The machines of all instances: what an instance's state asks of its machine, and what that tells the instance."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

from moto.ec2.models.instances import Instance

from standin.ec2.instance_states import shut_itself_down
from standin.ec2.lookup import find_instance
from standin.images import WITH_RAY
from standin.machines import metadata, view
from standin.machines.cgroups import PREFIX, CgroupError, Cgroups
from standin.machines.credentials import Credentials
from standin.machines.facts import Facts, facts_of
from standin.machines.internet import serve_packages
from standin.machines.machine import House, Machine, Wish
from standin.machines.network import INTERNET, Network
from standin.namespaces import Namespaces
from standin.world import World

_KEEPER = Path(__file__).with_name("keeper")
_NEEDED = ("ip", "mkfs.ext4", "nft", "nsenter", "sysctl", "systemd-nspawn", "unshare")
#: How long machines may take to be gone when everything is emptied.
_CLEAR_SECONDS = 30.0
_INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
_INOTIFY_INSTANCES = 1024

#: What an instance that enters a state asks of its machine.
_WISHES = {
    "running": Wish.ON,
    "stopping": Wish.OFF,
    "stopped": Wish.OFF_AT_ONCE,
    "shutting-down": Wish.GONE,
    "terminated": Wish.GONE_AT_ONCE,
}


class MachinesError(Exception):
    """This computer cannot run machines; says what to do."""


class Machines:
    """The machines of one stand-in. Its methods that take an instance are called with the world's lock held."""

    def __init__(self, world: World, folder: Path) -> None:
        """`folder` has the images. Raises `MachinesError`."""
        self._world = world
        self._images = folder
        self._check()
        token = secrets.token_hex(6)
        self._folder = folder / "disks" / token
        try:
            cgroups = Cgroups(token)
        except CgroupError as error:
            raise MachinesError(str(error)) from error
        self._remove_disks_of_the_dead(cgroups)
        self._folder.mkdir(parents=True)
        self._keeper = self._start_keeper(cgroups)
        namespaces = Namespaces(self._tell_keeper)
        world.namespaces = namespaces
        try:
            network = Network(namespaces, world.recorder.note)
        except OSError as error:
            raise MachinesError(f"networks for machines cannot be made: {error}") from error
        self.network, self.cgroups = network, cgroups
        self.credentials = Credentials()
        self._house = House(cgroups, network, self._folder, self._layers, lambda: world.settings.patience_seconds)
        self._machines: dict[str, Machine] = {}
        world.machines = self
        world.lifecycle.listeners.append(self._follow)
        world.lifecycle.is_on = self._is_on
        self._raise_inotify_limit()
        if not cgroups.limits_memory:
            _say("machines have all the memory there is: no control group here can limit it")
        packages = folder / "wheels"
        if packages.is_dir():
            cgroups.adopt("packages", serve_packages(INTERNET, packages).pid)

    def __getitem__(self, instance: str) -> Machine:
        """The machine of an instance. Raises `KeyError` when it has none."""
        return self._machines[instance]

    def all(self) -> list[Machine]:
        """All that there are."""
        return list(self._machines.values())

    def reboot(self, instance: Instance) -> None:
        """Reboots the machine, or boots it when it is dead."""
        if instance.id in self._machines:
            self._machines[instance.id].reboot()

    def force_off(self, instance: Instance) -> None:
        """Pulls the plug."""
        if instance.id in self._machines:
            self._machines[instance.id].wish(Wish.OFF_AT_ONCE)

    def console(self, instance: str, age: float) -> bytes:
        """What a machine had said on its console `age` seconds ago, to the boot before that."""
        machine = self._machines.get(instance)
        if machine is None or not machine.console.exists():
            return b""
        said = machine.console.read_bytes()
        return said if time.monotonic() - machine.booted_at >= age else said[: machine.said_before]

    def follow_networks(self) -> None:
        """Lets what the API says of networks now take effect."""
        self.network.follow(view.vpcs())

    def clear(self) -> None:
        """Ends and removes all machines, and waits for that. Called without the world's lock."""
        with self._world.lock:
            ended = self.all()
            self._machines.clear()
        for machine in ended:
            machine.wish(Wish.GONE_AT_ONCE)
        deadline = time.monotonic() + _CLEAR_SECONDS
        for machine in ended:
            machine.join(max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        """Ends and removes everything."""
        self.clear()
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()
        self._keeper.wait(_CLEAR_SECONDS)

    def off(self, machine: Machine) -> None:
        """From `Observer`."""
        with self._world.lock:
            if self._machines.get(machine.id) is machine and (instance := find_instance(machine.id)) is not None:
                self._world.lifecycle.is_off(instance)

    def shut_itself_down(self, machine: Machine) -> None:
        """From `Observer`."""
        with self._world.lock:
            if self._machines.get(machine.id) is machine and (instance := find_instance(machine.id)) is not None:
                shut_itself_down(self._world, instance)

    def failed(self, machine: Machine, what: str) -> None:
        """From `Observer`."""
        self._world.recorder.note(f"the machine of {machine.id} failed: {what}")

    def _follow(self, instance: Instance, old: str, new: str) -> None:
        """A listener of the lifecycle's."""
        self.follow_networks()
        machine = self._machines.get(instance.id)
        wish = _WISHES.get(new)
        if wish is None:
            return
        if machine is None:
            if wish is not Wish.ON:
                return
            machine = self._machines[instance.id] = self._machine(instance)
        machine.wish(wish)
        if new == "terminated":
            del self._machines[instance.id]

    def _is_on(self, instance: Instance) -> bool:
        machine = self._machines.get(instance.id)
        return machine is not None and not machine.is_settled_off

    def _machine(self, instance: Instance) -> Machine:
        known = facts_of(instance)

        def now() -> Facts:
            nonlocal known
            with self._world.lock:
                # One that has ended has no interface any more: what was known last stays.
                if 0 in instance.nics:
                    known = facts_of(instance)
            return known

        return Machine(now, lambda: metadata.tree_of(now(), self.credentials), self._house, self)

    def _layers(self, image: str) -> list[Path]:
        names = ("ray", "plain") if image == WITH_RAY else ("plain",)
        return [(self._images / each).resolve() for each in names]

    def _check(self) -> None:
        missing = [each for each in _NEEDED if shutil.which(each) is None]
        if missing:
            raise MachinesError(
                f"missing: {', '.join(missing)}; they are in the packages systemd-container, nftables, procps, "
                "e2fsprogs, iproute2 and util-linux"
            )
        if not (self._images / "plain").is_dir():
            raise MachinesError(f"there is no image {self._images / 'plain'}: `make tools` builds it")

    def _start_keeper(self, cgroups: Cgroups) -> subprocess.Popen[str]:
        keeper = subprocess.Popen(
            [str(_KEEPER), str(self._folder), *map(str, cgroups.tops)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        if keeper.stdout is None or keeper.stdout.readline() != "ready\n":
            raise MachinesError(f"{_KEEPER} failed")
        return keeper

    def _tell_keeper(self, namespace: str) -> None:
        if self._keeper.stdin is not None:
            self._keeper.stdin.write(f"{namespace}\n")
            self._keeper.stdin.flush()

    def _remove_disks_of_the_dead(self, cgroups: Cgroups) -> None:
        """A stand-in that lives has its control groups."""
        for disks in self._folder.parent.glob("*"):
            if not cgroups.tops[0].with_name(PREFIX + disks.name).exists():
                shutil.rmtree(disks, ignore_errors=True)

    def _raise_inotify_limit(self) -> None:
        """Each machine takes some of the instances that all of this user's processes share."""
        with contextlib.suppress(FileNotFoundError):
            if int(_INOTIFY.read_text()) >= _INOTIFY_INSTANCES:
                return
            try:
                _INOTIFY.write_text(str(_INOTIFY_INSTANCES))
            except OSError:
                _say(
                    f"fs.inotify.max_user_instances is {_INOTIFY.read_text().strip()} and cannot be raised from here; "
                    f"a machine takes seven. On the host: sysctl fs.inotify.max_user_instances={_INOTIFY_INSTANCES}"
                )


def _say(what: str) -> None:
    print(f"standin: {what}", file=sys.stderr, flush=True)
