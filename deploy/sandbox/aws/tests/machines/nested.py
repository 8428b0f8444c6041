"""Runs inside a boundary of its own: a stand-in with one machine, or with none. Then it does as it is told.

`python -m tests.machines.nested kill` says which machine runs, kills the stand-in, and says what is left some seconds
later; `wait` says which machine runs and waits until it is killed itself; `start` starts and ends a stand-in.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from tests.conftest import IMAGE, Network, instance, start
from tests.machines.conftest import IMAGES


def main() -> None:
    """See above."""
    process, standin = start("--log", "/run/rayward/tmp/log", "--machines", str(IMAGES))
    if sys.argv[1] == "start":
        process.terminate()
        sys.exit(process.wait(20))
    ec2 = standin.client("ec2")
    network = Network(ec2)
    launched = ec2.run_instances(
        ImageId=IMAGE, MinCount=1, MaxCount=1, SubnetId=network.subnet, InstanceType="t3.small"
    )
    machine = launched["Instances"][0]["InstanceId"]
    while instance(ec2, machine)["State"]["Name"] != "running":
        time.sleep(0.05)
    while not (told := standin.control("GET", "machines")["machines"]) or told[0]["leader"] is None:
        time.sleep(0.05)
    print(machine, flush=True)
    if sys.argv[1] == "wait":
        time.sleep(600)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while (left := traces(machine, network.vpc)) and time.monotonic() < deadline:
        time.sleep(0.05)
    print(json.dumps(left), flush=True)


def traces(machine: str, vpc: str) -> list[str]:
    """What there is of a machine inside this boundary."""
    found = [str(each) for each in Path("/sys/fs/cgroup").glob(f"**/{machine}")]
    found += [str(each) for each in (IMAGES / "disks").glob(f"*/{machine}")]
    found += [each for each in (machine, vpc) if (Path("/run/netns") / each).exists()]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text()
        except OSError:
            continue
        if machine in command or "keeper" in command or command.startswith("/sbin/init"):
            found.append(command)
    return found


if __name__ == "__main__":
    main()
