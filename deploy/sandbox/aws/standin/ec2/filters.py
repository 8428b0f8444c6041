"""Filters of the describes: values are joined with OR, filters with AND, `*` and `?` are wildcards everywhere.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from moto.core.model import StructureShape

from standin.ec2.attributes import texts
from standin.errors import AwsError

_MOST_VALUES = 200

#: The texts of an item that a filter compares.
Reader = Callable[[Any], Iterable[str]]


class Filters:
    """The filters of one call."""

    def __init__(self, given: list[dict[str, Any]], paths: dict[str, str], shape: StructureShape) -> None:
        """`paths` says for each filter's name where its value is in an item of this `shape`."""
        self._tests: list[tuple[Reader, re.Pattern[str]]] = []
        for each in given:
            name, values = each.get("Name"), each.get("Values", [])
            if not name:
                raise AwsError("InvalidParameterValue", "The filter 'null' is invalid")
            if not values:
                raise AwsError("InvalidParameterValue", f"The filter '{name}' has no values")
            if len(values) > _MOST_VALUES:
                raise AwsError("FilterLimitExceeded", f"The maximum number of filter values is {_MOST_VALUES}")
            self._tests.append((_reader(name, paths, shape), _pattern(values)))

    def match(self, item: Any) -> bool:
        """Whether an item passes all filters."""
        return all(any(pattern.fullmatch(text) for text in reader(item)) for reader, pattern in self._tests)


def _reader(name: str, paths: dict[str, str], shape: StructureShape) -> Reader:
    taggable = not {"Tags", "TagSet"}.isdisjoint(shape.members) or shape.name == "TagDescription"
    if not taggable and name.startswith("tag"):
        raise AwsError("InvalidParameterValue", f"The filter '{name}' is invalid")
    if name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return lambda item: [value for tag, value in _tags(item, shape) if tag == key]
    if name == "tag-key":
        return lambda item: [tag for tag, _ in _tags(item, shape)]
    if name == "tag-value":
        return lambda item: [value for _, value in _tags(item, shape)]
    if name not in paths:
        raise AwsError("InvalidParameterValue", f"The filter '{name}' is invalid")
    path = paths[name].split(".")
    return lambda item: texts(item, shape, path)


def _tags(item: Any, shape: StructureShape) -> list[tuple[str, str]]:
    backend, resource_id = getattr(item, "ec2_backend", None), getattr(item, "id", None)
    if backend is not None and resource_id is not None:
        return list(backend.tags.get(resource_id, {}).items())
    if isinstance(item, dict) and {"key", "value"} <= item.keys():
        return [(item["key"], item["value"])]
    keys, values = texts(item, shape, ["Tags", "Key"]), texts(item, shape, ["Tags", "Value"])
    return list(zip(keys, values, strict=True))


def _pattern(values: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(_translate(value) for value in values), re.DOTALL)


def _translate(value: str) -> str:
    """A filter value as a regular expression. A backslash takes the next character literally."""
    translated, characters = "", iter(value)
    for character in characters:
        if character == "\\":
            translated += re.escape(next(characters, "\\"))
        elif character == "*":
            translated += ".*"
        elif character == "?":
            translated += "."
        else:
            translated += re.escape(character)
    return f"(?:{translated})"
