"""The one exception by which a behaviour refuses a call, and the wire form each service gives it."""

from __future__ import annotations

import json
from xml.sax.saxutils import escape

from standin.calls import Answer, Call


class AwsError(Exception):
    """An error as AWS answers it: a code that SDKs match on, a message, and an HTTP status."""

    def __init__(
        self, code: str, message: str, status: int = 400, headers: dict[str, str] | None = None, detail: str = ""
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.headers = headers or {}
        #: Further elements of an S3 error, as XML.
        self.detail = detail


class ConnectionCut(Exception):
    """The connection is closed without an answer."""


def render(call: Call, error: AwsError) -> Answer:
    """Writes `error` in the protocol of the service that was called."""
    headers = {"x-amzn-RequestId": call.request_id, **error.headers}
    code, message = escape(error.code), escape(error.message)
    if call.service == "ec2":
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error><Code>{code}</Code>'
            f"<Message>{message}</Message></Error></Errors><RequestID>{call.request_id}</RequestID></Response>"
        )
        headers["Content-Type"] = "text/xml;charset=UTF-8"
    elif call.service == "s3":
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>'
            f"{error.detail}<RequestId>{call.request_id}</RequestId></Error>"
        )
        headers["Content-Type"] = "application/xml"
        if call.environ["REQUEST_METHOD"] == "HEAD":
            body = ""
    elif call.service == "ssm":
        body = json.dumps({"__type": error.code, "message": error.message})
        headers["Content-Type"] = "application/x-amz-json-1.1"
        headers["x-amzn-ErrorType"] = error.code
    else:
        fault = "Sender" if error.status < 500 else "Receiver"
        body = (
            f"<ErrorResponse><Error><Type>{fault}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            f"<RequestId>{call.request_id}</RequestId></ErrorResponse>"
        )
        headers["Content-Type"] = "text/xml"
    return Answer(error.status, headers, body.encode(), error_code=error.code)
