"""Starts the stand-in: `python -m standin --port 0 --log FILE`.

Prints one line of JSON on stdout once it answers, `{"url": "http://127.0.0.1:PORT"}`, and ends on SIGTERM.
"""

from __future__ import annotations

import argparse
import ctypes
import ipaddress
import json
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Runs until told to end."""
    options = _options()
    if options.parent_death:
        _end_with_parent()
    from standin.app import Application
    from standin.ec2 import public_addresses
    from standin.machines.fleet import Machines, MachinesError
    from standin.machines.internet import AWS_PORT
    from standin.machines.network import INTERNET
    from standin.namespaces import NamespaceError, Namespaces
    from standin.server import Server
    from standin.world import World

    namespaces = Namespaces() if options.network_namespaces else None
    if namespaces is not None:
        try:
            namespaces.check()
        except NamespaceError as error:
            sys.exit(f"standin: cannot make network namespaces: {error}")

    if options.public_range is not None:
        public_addresses.draw_from(options.public_range)
    options.log.parent.mkdir(parents=True, exist_ok=True)
    with options.log.open("a", encoding="utf-8") as log:
        world = World(log, namespaces)
        application = Application(world)
        servers = [Server(options.port, application)]
        if options.machines is not None:
            try:
                Machines(world, options.machines)
            except MachinesError as error:
                sys.exit(f"standin: no machines: {error}")
            servers.append(Server(AWS_PORT, application, INTERNET))
        server = servers[0]

        def end(_signal: int, _frame: FrameType | None) -> None:
            # shutdown() waits for the serving loop, which runs in this very thread.
            threading.Thread(target=server.shutdown).start()

        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        for other in servers[1:]:
            threading.Thread(target=other.serve_forever, daemon=True).start()
        print(json.dumps({"url": server.url}), flush=True)
        server.serve_forever(poll_interval=0.05)
        server.server_close()
        if world.machines is not None:
            world.machines.close()
        elif namespaces is not None:
            namespaces.clear()
    # Taking moto's objects apart one by one would take seconds, and nobody needs them any more.
    os._exit(0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="standin", description="A local stand-in for AWS (EC2, S3, SSM, STS).")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--log", type=Path, required=True, help="file to which each call is added, as JSON lines")
    parser.add_argument("--parent-death", action="store_true", help="end when the thread that started it ends")
    parser.add_argument("--network-namespaces", action="store_true", help="make a network namespace for each VPC")
    parser.add_argument("--machines", type=Path, help="boot each instance, from the images in this folder; needs root")
    parser.add_argument("--public-range", type=_range, help="range of the public addresses, such as 198.19.4.0/22")
    return parser.parse_args()


def _range(text: str) -> ipaddress.IPv4Network:
    network = ipaddress.IPv4Network(text)
    if network.num_addresses < 4:
        raise ValueError(f"{text} has no room for machines")
    return network


def _end_with_parent() -> None:
    parent = os.getppid()
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        sys.exit(f"prctl(PR_SET_PDEATHSIG) failed: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the parent ended before the stand-in had started")


if __name__ == "__main__":
    main()
