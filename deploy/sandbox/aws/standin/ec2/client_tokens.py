"""Client tokens: a repeated call is answered with what the first one made.

Idempotency of RunInstances holds within a zone: the same token in another zone is not recognised and launches anew.
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Run_Instance_Idempotency.html
"""

from __future__ import annotations

import copy
from typing import Any

from standin.behaviours import Stage
from standin.calls import Call
from standin.ec2.memory import Answered
from standin.ec2.registry import EC2
from standin.ec2.zones import zone_of
from standin.errors import AwsError
from standin.world import World

_LONGEST = 64


@EC2.before("*", stage=Stage.REPETITION)
def answer_a_repetition(world: World, call: Call) -> Any:
    """Answers a call whose token is known, or refuses it when its other parameters differ."""
    token = call.params.get("ClientToken")
    if token is None:
        return None
    if not token.isascii() or len(token) > _LONGEST:
        raise AwsError("InvalidParameterValue", f"Client token must be at most {_LONGEST} ASCII characters.")
    call.notes["token"] = _key(call, token)
    call.notes["asked"] = _asked(call)
    known = world.memory.tokens.get(call.notes["token"])
    if known is None:
        return None
    if known.params != call.notes["asked"]:
        raise AwsError(
            "IdempotentParameterMismatch",
            "The request uses the same client token as a previous, but non-identical request.",
        )
    return known.result


@EC2.after("*")
def remember(world: World, call: Call, result: Any) -> None:
    """Remembers what the token got. Only what was carried out is remembered: a refused call may be sent again."""
    if "token" in call.notes:
        # A shallow copy: instances that are forgotten later leave moto's reservation, not this one.
        kept = copy.copy(result)
        if hasattr(kept, "instances"):
            kept.instances = list(kept.instances)
        world.memory.tokens[call.notes["token"]] = Answered(call.notes["asked"], kept)


def _key(call: Call, token: str) -> tuple[str, str, str, str, str]:
    zone = zone_of(call) if call.action == "RunInstances" else ""
    return call.account, call.region, call.action, zone, token


def _asked(call: Call) -> dict[str, Any]:
    return {key: value for key, value in call.sent.items() if key not in ("ClientToken", "DryRun")}
