"""Keys that the metadata service gives to machines with an instance profile, and that S3 accepts from machines.

https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_switch-role-ec2_instance-metadata.html
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_LIFE = timedelta(hours=6)
#: Real ones are renewed while the old ones still work for some minutes.
_RENEWED_BEFORE_END = timedelta(minutes=10)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@dataclass(frozen=True)
class _Issued:
    role: str
    account: str
    access_key: str
    secret_key: str
    token: str
    began: datetime

    @property
    def ends(self) -> datetime:
        return self.began + _LIFE


class Credentials:
    """All keys that were given out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_instance: dict[str, _Issued] = {}
        self._by_key: dict[str, _Issued] = {}

    def of(self, instance: str, role: str, account: str) -> dict[str, str]:
        """The keys of an instance as the metadata service shows them; new ones when it has none that last."""
        now = datetime.now(UTC)
        with self._lock:
            issued = self._by_instance.get(instance)
            if issued is None or issued.role != role or issued.ends - _RENEWED_BEFORE_END < now:
                key = "ASIA" + "".join(secrets.choice(_LETTERS) for _ in range(16))
                issued = _Issued(role, account, key, secrets.token_urlsafe(30), secrets.token_urlsafe(200), now)
                self._by_instance[instance] = self._by_key[key] = issued
        return {
            "Code": "Success",
            "LastUpdated": _written(issued.began),
            "Type": "AWS-HMAC",
            "AccessKeyId": issued.access_key,
            "SecretAccessKey": issued.secret_key,
            "Token": issued.token,
            "Expiration": _written(issued.ends),
        }

    def account_of(self, access_key: str, token: str | None) -> str | None:
        """The account of keys that were given out and still work; None for any others."""
        with self._lock:
            issued = self._by_key.get(access_key)
        if issued is None or token != issued.token or issued.ends < datetime.now(UTC):
            return None
        return issued.account


def _written(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
