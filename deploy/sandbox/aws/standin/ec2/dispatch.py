"""How an EC2 call is answered. The imports below are the list of all behaviours, in the order in which they run."""

from __future__ import annotations

from standin.calls import Answer, Call
from standin.ec2 import client_tokens as client_tokens
from standin.ec2 import describe as describe
from standin.ec2 import dry_run as dry_run
from standin.ec2 import instance_states as instance_states
from standin.ec2.registry import EC2
from standin.errors import AwsError
from standin.moto_backend import run_ec2, serialize_ec2
from standin.world import World


def handle(world: World, call: Call) -> Answer:
    """Answers one EC2 call. The caller holds the lock."""
    if not call.action:
        raise AwsError("InvalidAction", "The action is not valid for this web service.")
    world.lifecycle.advance()
    return serialize_ec2(call, EC2.run(world, call, run_ec2))
