"""What machines find on their internet, all on one address: AWS itself, and a package index."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from standin.calls import Scope
from standin.errors import AwsError
from standin.machines.credentials import Credentials

#: Where AWS answers machines.
AWS_PORT = 4566
#: Where `/simple/` is a package index for pip.
PACKAGES_PORT = 3141


def serve_packages(address: str, folder: Path) -> subprocess.Popen[bytes]:
    """Starts a server for the files of a folder; the caller ends it."""
    return subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", address, "--directory", str(folder), str(PACKAGES_PORT)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def check_caller(credentials: Credentials, scope: Scope, environ: dict[str, Any]) -> str:
    """The account of a caller from a machine. Raises `AwsError` unless it has keys of its instance profile."""
    account = credentials.account_of(scope.access_key, environ.get("HTTP_X_AMZ_SECURITY_TOKEN"))
    if account is not None:
        return account
    if scope.service == "ec2":
        raise AwsError("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
    raise AwsError("AccessDenied", "Access Denied", 403)
