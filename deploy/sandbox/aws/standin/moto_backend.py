"""The only place that knows how moto is started, called and emptied."""

from __future__ import annotations

import io
from typing import Any

from botocore import xform_name
from moto.core.base_backend import BackendDict
from moto.core.exceptions import ServiceException
from moto.core.model_instances import reset_model_data
from moto.core.responses import ActionResult
from moto.core.serialize import XFormedAttributePicker, get_serializer_class
from moto.core.utils import get_service_model
from moto.ec2.models import ec2_backends
from moto.ec2.responses import EC2Response
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.utilities.utils import get_partition
from werkzeug.exceptions import HTTPException

from standin.calls import Answer, Call
from standin.errors import AwsError

_other_services = DomainDispatcherApplication(create_backend_app)


def ec2(call: Call) -> Any:
    """moto's EC2 (`EC2Backend`) of the call's account and region; its own type annotations are wrong in places."""
    return ec2_backends[call.account][call.region]


def run_ec2(call: Call) -> object:
    """Lets moto carry out an EC2 call with the parameters as they are now; returns its result, not yet serialized.

    Raises `AwsError` with moto's code when moto refuses.
    """
    response = EC2Response()
    response.params = call.params
    response.region = call.region
    response.partition = get_partition(call.region)
    response.current_account = call.account
    response.querystring = response.data = {}
    response.uri_match = {}
    response.body = ""
    handler = getattr(response, xform_name(call.action), None)
    if handler is None:
        raise AwsError("InvalidAction", f"The action {call.action} is not valid for this web service.")
    try:
        answer = handler()
    except ServiceException as error:
        raise AwsError(error.code, error.message, getattr(error, "status", None) or 400) from error
    except HTTPException as error:
        code = getattr(error, "error_type", "InvalidRequest")
        raise AwsError(code, getattr(error, "message", str(error)), error.code or 400) from error
    except NotImplementedError as error:
        raise AwsError("InvalidParameterValue", f"The stand-in cannot do this: {error}") from error
    if not isinstance(answer, ActionResult):
        raise AwsError("InvalidAction", f"The action {call.action} is not supported by the stand-in.")
    return answer.result


def serialize_ec2(call: Call, result: object) -> Answer:
    """Writes a result, a plain dict or one of moto's objects, as EC2's XML."""
    operation = get_service_model("ec2").operation_model(call.action)
    # moto writes `pending` into every answer of RunInstances; the instance itself says it, and a repeated answer more.
    transformers = {
        path: transform
        for path, transform in EC2Response.RESPONSE_KEY_PATH_TO_TRANSFORMER.items()
        if not path.startswith("RunInstances.")
    }
    serializer = get_serializer_class("ec2", "ec2")(
        operation_model=operation, value_picker=XFormedAttributePicker(response_transformers=transformers)
    )
    serialized = serializer.serialize(result)
    headers = {key: str(value) for key, value in serialized["headers"].items()}
    headers.setdefault("Content-Type", "text/xml;charset=UTF-8")
    headers["x-amzn-RequestId"] = call.request_id
    body = str(serialized["body"]).replace(">request-id<", f">{call.request_id}<", 1)
    return Answer(int(serialized["status_code"]), headers, body.encode())


def run_other(call: Call) -> Answer:
    """Lets moto's own WSGI application answer a call to another service than EC2."""
    environ = dict(call.environ)
    environ["wsgi.input"] = io.BytesIO(call.body)
    environ["CONTENT_LENGTH"] = str(len(call.body))
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    environ.pop("wsgi.input_terminated", None)
    environ["HTTP_X_MOTO_ACCOUNT_ID"] = call.account
    started: dict[str, Any] = {}

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        started.update(status=int(status.split()[0]), headers=dict(headers))
        return lambda data: None

    chunks = _other_services(environ, start_response)
    body = b"".join(chunks)
    answer = Answer(started["status"], started["headers"], body)
    if answer.status >= 400:
        answer.error_code = error_code_of(answer)
    return answer


def error_code_of(answer: Answer) -> str:
    """The error code in an answer of S3, SSM or STS."""
    text = answer.body.decode(errors="replace")
    if "<Code>" in text:
        return text.split("<Code>", 1)[1].split("<", 1)[0]
    if '"__type"' in text:
        return text.split('"__type"', 1)[1].split('"')[1].rsplit("#", 1)[-1]
    return str(answer.status)


def reset_moto() -> None:
    """Empties moto, of all accounts and regions."""
    BackendDict.reset()
    reset_model_data()
