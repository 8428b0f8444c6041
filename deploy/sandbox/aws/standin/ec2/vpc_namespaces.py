"""Each VPC made by CreateVpc has a network namespace of its name, when the stand-in was started with them."""

from __future__ import annotations

from typing import Any

from standin.calls import Call
from standin.ec2.registry import EC2
from standin.errors import AwsError
from standin.moto_backend import ec2
from standin.namespaces import NamespaceError
from standin.world import World


@EC2.after("CreateVpc")
def make(world: World, call: Call, result: Any) -> None:
    """A VPC whose namespace cannot be made is not made either."""
    if world.namespaces is None:
        return
    vpc_id = result["Vpc"].id
    try:
        world.namespaces.add(vpc_id)
    except NamespaceError as error:
        ec2(call).delete_vpc(vpc_id)
        raise AwsError("InternalError", f"No network namespace for {vpc_id}: {error}", 500) from error


@EC2.after("DeleteVpc")
def remove(world: World, call: Call, result: Any) -> None:
    """The namespace goes with its VPC."""
    if world.namespaces is not None:
        world.namespaces.remove(call.params["VpcId"])
