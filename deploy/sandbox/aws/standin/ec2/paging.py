"""Pages of the describes: MaxResults, NextToken."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, TypeVar

from standin.calls import Call
from standin.errors import AwsError

_LEAST, _MOST = 5, 1000

#: MaxResults and ids in one call are refused by these.
_NO_IDS_WITH_PAGES = {
    "DescribeInstances": "instancesSet",
    "DescribeInstanceStatus": "instancesSet",
    "DescribeVolumes": "volumesSet",
    "DescribeNetworkInterfaces": "networkInterfaceIdSet",
}

Item = TypeVar("Item")


class Page:
    """Which part of a listing a call asks for."""

    def __init__(self, call: Call, ids_given: bool) -> None:
        """Takes the paging parameters out of the call, and refuses wrong ones."""
        size = call.params.pop("MaxResults", None)
        token = call.params.pop("NextToken", None)
        if size is not None:
            if not _LEAST <= size <= _MOST:
                bound = f"greater than {_LEAST}" if size < _LEAST else f"less than {_MOST}"
                raise AwsError(
                    "InvalidParameterValue",
                    f"Value ( {size} ) for parameter maxResults is invalid. Expecting a value {bound}.",
                )
            if ids_given and call.action in _NO_IDS_WITH_PAGES:
                raise AwsError(
                    "InvalidParameterCombination",
                    f"The parameter {_NO_IDS_WITH_PAGES[call.action]} cannot be used with the parameter maxResults",
                )
        self._size: int = size or _MOST
        self._scope = f"{call.account}/{call.region}/{call.action}"
        self._after = None if token is None else self._read(token)

    def cut(self, items: list[Item], identities: list[str]) -> tuple[list[Item], str | None]:
        """The items of this page, and the token of the next one. `identities` names the items, in the same order.

        A page begins after the last item of the page before, wherever that is by now; if it is gone, where it was.
        """
        start = 0
        if self._after is not None:
            last, position = self._after
            start = identities.index(last) + 1 if last in identities else position
        end = start + self._size
        if end >= len(items):
            return items[start:], None
        return items[start:end], self._write(identities[end - 1], end - 1)

    def _write(self, last: str, position: int) -> str:
        return base64.urlsafe_b64encode(json.dumps([self._scope, last, position]).encode()).decode()

    def _read(self, token: str) -> tuple[str, int]:
        try:
            parsed: Any = json.loads(base64.urlsafe_b64decode(token.encode()))
            scope, last, position = parsed
        except (binascii.Error, ValueError, TypeError):
            scope, last, position = None, "", 0
        if scope != self._scope:
            raise AwsError("InvalidNextToken", f"The token '{token}' is invalid.")
        return str(last), int(position)
