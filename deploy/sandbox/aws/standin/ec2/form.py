"""A request must have the parameters that its API reference requires, with values that it lists."""

from __future__ import annotations

from moto.core.utils import get_service_model

from standin.behaviours import Stage
from standin.calls import Call
from standin.ec2.registry import EC2
from standin.errors import AwsError
from standin.world import World

#: New types come every month; what a launch says of an unknown one is in `launch_checks.py`.
_OPEN = frozenset({"InstanceType"})


@EC2.before("*", stage=Stage.FORM)
def check_form(world: World, call: Call) -> None:
    """The first parameter that is missing or wrong is named."""
    shape = get_service_model("ec2").operation_model(call.action).input_shape
    if shape is None:
        return
    for name in shape.required_members:
        if call.params.get(name) in (None, "", []):
            raise AwsError("MissingParameter", f"The request must contain the parameter {name}")
    for name, member in shape.members.items():
        value, allowed = call.params.get(name), getattr(member, "enum", None)
        if isinstance(value, str) and allowed and value not in allowed and name not in _OPEN:
            raise AwsError("InvalidParameterValue", f"Value ({value}) for parameter {name} is invalid.")
