"""DryRun: after all checks, the call ends with DryRunOperation and has changed nothing."""

from __future__ import annotations

from standin.behaviours import Stage
from standin.calls import Call
from standin.ec2.registry import EC2
from standin.errors import AwsError
from standin.world import World


@EC2.before("*", stage=Stage.DRY_RUN)
def stop_before_the_change(world: World, call: Call) -> None:
    """moto knows DryRun for a few actions only; CreateVpc for one really creates."""
    if call.params.pop("DryRun", False):
        raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
