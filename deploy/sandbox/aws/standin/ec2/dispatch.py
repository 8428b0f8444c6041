"""How an EC2 call is answered. The imports below are the list of all behaviours."""

from __future__ import annotations

import time

from standin.calls import Answer, Call
from standin.ec2 import boots as boots
from standin.ec2 import capacity as capacity
from standin.ec2 import cidrs as cidrs
from standin.ec2 import client_tokens as client_tokens
from standin.ec2 import dependencies as dependencies
from standin.ec2 import describe as describe
from standin.ec2 import disks as disks
from standin.ec2 import dry_run as dry_run
from standin.ec2 import eventual_consistency
from standin.ec2 import existence as existence
from standin.ec2 import form as form
from standin.ec2 import instance_attributes as instance_attributes
from standin.ec2 import instance_states as instance_states
from standin.ec2 import interfaces as interfaces
from standin.ec2 import key_pairs as key_pairs
from standin.ec2 import launch_checks as launch_checks
from standin.ec2 import launch_defaults as launch_defaults
from standin.ec2 import machines as machines
from standin.ec2 import private_addresses as private_addresses
from standin.ec2 import public_addresses as public_addresses
from standin.ec2 import route_tables as route_tables
from standin.ec2 import security_groups as security_groups
from standin.ec2 import subnets as subnets
from standin.ec2 import tags as tags
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
