"""The record of every AWS call, for tests that ask what was done and in which order."""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from standin.calls import Answer, Call
from standin.ids import ids_in

#: Enough for any test, and for a day of a sandbox that is left running.
_MOST_RECORDS = 200_000
#: A read of a large account names thousands of ids, and nobody asks for them.
_MOST_IDS_OF_A_READ = 100
#: Parameters that are never recorded: user data and key or object contents.
_PRIVATE = frozenset({"UserData", "PublicKeyMaterial", "KeyMaterial", "Value", "Body"})


@dataclass
class Record:
    """One call as it was made and answered. `status` is None when the connection was closed without an answer."""

    seq: int
    began: float
    ended: float
    service: str
    action: str
    region: str
    change: bool
    params: dict[str, Any]
    ids: list[str]
    status: int | None
    error: str | None
    fault: str | None


class Recorder:
    """Keeps the records in the order in which the calls ended, and writes each as a line of JSON to the log."""

    def __init__(self, log: TextIO | None = None) -> None:
        self._lock = threading.Lock()
        self._log = log
        self._next = 1
        self._records: deque[Record] = deque(maxlen=_MOST_RECORDS)

    def add(self, call: Call, answer: Answer | None, began: float, ended: float, fault: str | None) -> None:
        """Records one call."""
        record = Record(
            seq=0,
            began=began,
            ended=ended,
            service=call.service,
            action=call.action,
            region=call.region,
            change=call.is_change,
            params=_public(call.sent),
            ids=_ids(call, answer),
            status=None if answer is None else answer.status,
            error=None if answer is None else answer.error_code,
            fault=fault,
        )
        with self._lock:
            record.seq = self._next
            self._next += 1
            self._records.append(record)
            self._write(asdict(record))

    def note(self, text: str) -> None:
        """Writes something that is not a call to the log, such as a traceback."""
        with self._lock:
            self._write({"note": text})

    def since(self, seq: int) -> list[dict[str, Any]]:
        """The records with a number above `seq`."""
        with self._lock:
            return [asdict(record) for record in self._records if record.seq > seq]

    def clear(self) -> None:
        """Forgets all records. Numbers go on, so that `since` stays meaningful."""
        with self._lock:
            self._records.clear()

    def _write(self, entry: dict[str, Any]) -> None:
        if self._log is not None:
            self._log.write(json.dumps(entry, default=str) + "\n")
            self._log.flush()


def _public(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: "(not recorded)"
            if key in _PRIVATE and isinstance(each, str | bytes) and "Key" not in value
            else _public(each)
            for key, each in value.items()
            if key != "DryRun" or each
        }
    if isinstance(value, list):
        return [_public(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _ids(call: Call, answer: Answer | None) -> list[str]:
    if answer is None or call.service != "ec2" or answer.status >= 400:
        return []
    found = ids_in(answer.body.decode())
    return found if call.is_change else found[:_MOST_IDS_OF_A_READ]
