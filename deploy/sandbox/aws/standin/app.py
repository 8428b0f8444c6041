"""The WSGI application: from the request to the recorded answer.

The order is: parse, faults, delay, then under the lock the behaviours and moto, then the record. What waits (delays,
held connections) waits outside the lock, so that concurrent calls overlap.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from moto.core.parse import RequestParserError
from moto.iam.models import get_account_id_from

from standin import control, regions
from standin.calls import Answer, Call, Scope, parse, scope_of
from standin.ec2.dispatch import handle as handle_ec2
from standin.errors import AwsError, ConnectionCut, render
from standin.faults import Fault
from standin.machines.internet import check_caller
from standin.moto_backend import run_other
from standin.s3.dispatch import handle as handle_s3
from standin.world import World

StartResponse = Callable[[str, list[tuple[str, str]]], Any]

_SERVICES = frozenset({"ec2", "s3", "ssm", "sts", "iam"})


class Application:
    """Answers everything that arrives at the stand-in."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """One request. Raises `ConnectionCut` when no answer may be sent; the server closes the connection then."""
        body: bytes = environ["standin.body"]
        if environ["PATH_INFO"].startswith(control.PREFIX) and not environ["standin.from_internet"]:
            answer = control.handle(self.world, environ["REQUEST_METHOD"], environ, body)
        else:
            answer = self._aws(environ, body)
        start_response(f"{answer.status} {_phrase(answer.status)}", list(answer.headers.items()))
        return [answer.body]

    def _aws(self, environ: dict[str, Any], body: bytes) -> Answer:
        began = time.time()
        scope = scope_of(environ)
        account = self.world.settings.accounts.get(scope.access_key) or get_account_id_from(scope.access_key)
        call = Call(scope.service, "", scope.region, account, environ, body, params={})
        fault: Fault | None = None
        answer: Answer | None = None
        try:
            _check_scope(scope)
            if environ["standin.from_internet"] and self.world.machines is not None:
                account = check_caller(self.world.machines.credentials, scope, environ)
            call = _parsed(environ, body, scope, account)
            fault = self.world.faults.take(call)
            answer = self._answer(call, fault)
        except AwsError as error:
            answer = render(call, error)
        except ConnectionCut:
            raise
        except Exception:
            self.world.recorder.note(f"{call.service} {call.action} failed:\n{traceback.format_exc()}")
            answer = render(call, AwsError("InternalError", "The stand-in failed; its log has the traceback.", 500))
        finally:
            kind = None if fault is None else fault.kind
            self.world.recorder.add(call, answer, began, time.time(), kind)
        return answer

    def _answer(self, call: Call, fault: Fault | None) -> Answer:
        delay = self.world.settings.delay_ms / 1000
        if fault is not None and fault.kind in ("delay", "timeout"):
            delay += fault.seconds
        if delay:
            time.sleep(delay)
        if fault is not None:
            if fault.kind == "timeout":
                raise ConnectionCut
            if fault.kind not in ("delay", "lost-response"):
                raise fault.error(call)
        answer = self._execute(call)
        if fault is not None and fault.kind == "lost-response":
            raise ConnectionCut
        return answer

    def _execute(self, call: Call) -> Answer:
        with self.world.lock:
            if call.service == "ec2":
                return handle_ec2(self.world, call)
            if call.service == "s3":
                return handle_s3(self.world, call)
            return run_other(call)


def _parsed(environ: dict[str, Any], body: bytes, scope: Scope, account: str) -> Call:
    try:
        return parse(environ, body, scope, account)
    except (ValueError, TypeError, KeyError, RequestParserError) as error:
        code = {"s3": "MalformedXML", "ssm": "SerializationException"}.get(scope.service, "MalformedQueryString")
        raise AwsError(code, f"The request cannot be read: {error}") from error


def _check_scope(scope: Scope) -> None:
    if scope.service not in _SERVICES:
        raise AwsError("UnknownEndpoint", f"The stand-in has no service {scope.service!r}.", 404)
    if scope.region not in regions.KNOWN:
        message = f"Credential should be scoped to a valid region; {scope.region!r} is none."
        if scope.service == "s3":
            raise AwsError("AuthorizationHeaderMalformed", message, 400)
        if scope.service == "ec2":
            raise AwsError("AuthFailure", message, 401)
        raise AwsError("SignatureDoesNotMatch", message, 403)
    if not scope.signed:
        if scope.service == "s3":
            raise AwsError("AccessDenied", "Access Denied", 403)
        if scope.service == "ec2":
            raise AwsError("AuthFailure", "AWS was not able to validate the provided access credentials", 401)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
