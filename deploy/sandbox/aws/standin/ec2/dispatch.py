"""How an EC2 call is answered. The imports below are the list of all behaviours, in the order in which they run."""

from __future__ import annotations

import time

from standin.calls import Answer, Call
from standin.ec2 import client_tokens as client_tokens
from standin.ec2 import describe as describe
from standin.ec2 import dry_run as dry_run  # after the checks of the others
from standin.ec2 import eventual_consistency
from standin.ec2 import instance_states as instance_states
from standin.ec2 import vpc_namespaces as vpc_namespaces
from standin.ec2.registry import EC2
from standin.errors import AwsError
from standin.ids import ids_in
from standin.moto_backend import run_ec2, serialize_ec2
from standin.world import World


def handle(world: World, call: Call) -> Answer:
    """Answers one EC2 call. The caller holds the lock."""
    if not call.action:
        raise AwsError("InvalidAction", "The action is not valid for this web service.")
    world.lifecycle.advance()
    with eventual_consistency.past(world, call):
        answer = serialize_ec2(call, EC2.run(world, call, run_ec2))
    if call.is_change:
        for each in ids_in(answer.body.decode()):
            world.memory.first_seen.setdefault(each, time.monotonic())
    return answer
