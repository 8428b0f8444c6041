"""Finding the resources that a call names, or refusing with AWS's codes."""

from __future__ import annotations

import re

from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import Instance

from standin.calls import Call
from standin.errors import AwsError
from standin.moto_backend import ec2

_INSTANCE_ID = re.compile(r"i-([0-9a-f]{8}|[0-9a-f]{17})")


def find_instance(instance_id: str) -> Instance | None:
    """An instance by its id, in whatever account and region it is."""
    for regions in ec2_backends.values():
        for backend in regions.values():
            for reservation in backend.reservations.values():
                for instance in reservation.instances:
                    if instance.id == instance_id:
                        return instance
    return None


def instances_named(call: Call) -> list[Instance]:
    """The instances of `InstanceIds`, all of them: one unknown id refuses the whole call."""
    ids = list(dict.fromkeys(call.params.get("InstanceIds", [])))
    if not ids:
        raise AwsError("MissingParameter", "The request must contain the parameter InstanceId")
    for each in ids:
        if not _INSTANCE_ID.fullmatch(each):
            raise AwsError("InvalidInstanceID.Malformed", f'Invalid id: "{each}"')
    known = {
        instance.id: instance for reservation in ec2(call).reservations.values() for instance in reservation.instances
    }
    missing = [each for each in ids if each not in known]
    if len(missing) == 1:
        raise AwsError("InvalidInstanceID.NotFound", f"The instance ID '{missing[0]}' does not exist")
    if missing:
        raise AwsError("InvalidInstanceID.NotFound", f"The instance IDs '{', '.join(missing)}' do not exist")
    return [known[each] for each in ids]
