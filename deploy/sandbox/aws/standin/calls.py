"""What a request asks for, whatever protocol it came in, and what is answered."""

from __future__ import annotations

import copy
import io
import json
import re
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from moto.core.model import OperationModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from werkzeug.exceptions import NotFound

_SCOPE = re.compile(r"Credential=(?P<key>[^/,\s]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
_READ_PREFIXES = ("Describe", "Get", "List", "Head", "Search", "Lookup")


@dataclass
class Call:
    """One request to AWS."""

    service: str
    action: str
    region: str
    account: str
    environ: dict[str, Any]
    body: bytes
    #: Parameters by their names in the API reference, nested as there.
    params: dict[str, Any]
    #: The parameters as they were sent, which no behaviour has changed.
    sent: dict[str, Any] = field(default_factory=dict)
    #: What AWS calls the request ID, in every answer.
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    #: Scratch space in which a behaviour leaves something for its later hook.
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def is_change(self) -> bool:
        """Whether the call can change something."""
        return not self.action.startswith(_READ_PREFIXES) and self.action != "AssumeRole"

    def header(self, name: str) -> str | None:
        """A request header by its name, in any case."""
        value = self.environ.get("HTTP_" + name.upper().replace("-", "_"))
        return None if value is None else str(value)


@dataclass
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes
    error_code: str | None = None


@dataclass(frozen=True)
class Scope:
    """The credential scope of a signed request. `signed` is false when the request has no signature."""

    access_key: str
    region: str
    service: str
    signed: bool


def scope_of(environ: dict[str, Any]) -> Scope:
    """Reads region, service and access key from the signature, in the header or (presigned) the query."""
    found = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    if found is None:
        query = dict(parse_qsl(environ.get("QUERY_STRING", "")))
        found = _SCOPE.search("Credential=" + query.get("X-Amz-Credential", ""))
    if found is None:
        return Scope(access_key="", region="us-east-1", service=_unsigned_service(environ), signed=False)
    return Scope(found["key"], found["region"], found["service"].lower(), signed=True)


def _is_content(operation: OperationModel) -> bool:
    """Whether the body is an object's content, which is no parameter."""
    payload = operation.input_shape.serialization.get("payload") if operation.input_shape else None
    return payload is not None and operation.input_shape.members[payload].type_name == "blob"


def _unsigned_service(environ: dict[str, Any]) -> str:
    if environ.get("HTTP_X_AMZ_TARGET", "").startswith("AmazonSSM"):
        return "ssm"
    content_type = environ.get("CONTENT_TYPE", "")
    if content_type.startswith("application/x-www-form-urlencoded"):
        return "sts" if b"Version=2011-06-15" in environ["standin.body"] else "ec2"
    return "s3"


def parse(environ: dict[str, Any], body: bytes, scope: Scope, account: str) -> Call:
    """Finds the operation of a request in the service's API model, and its parameters.

    An operation that the model does not have leaves `action` empty.
    """
    call = Call(scope.service, "", scope.region, account, environ, body, params={})
    request = Request({**environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))})
    try:
        operation, path_params = get_service_router(scope.service).match(request)
    except (NotFound, NotImplementedError):
        return call
    call.action = str(operation.name)
    if scope.service == "ssm":
        json.loads(body or b"{}")  # the parser takes what is no JSON for an empty object
    protocol = determine_request_protocol(operation.service_model, request.content_type)
    parsed = PROTOCOL_PARSERS[protocol](operation).parse(
        {
            "method": request.method,
            "values": request.values,
            "headers": request.headers,
            "body": b"" if _is_content(operation) else body,
            "url_path": request.path,
            "url_params": path_params,
        }
    )
    call.params = {**dict(parsed), **path_params} if scope.service == "s3" else dict(parsed)
    call.sent = copy.deepcopy(call.params)
    return call
