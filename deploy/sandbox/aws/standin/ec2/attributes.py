"""Reads attributes of moto's objects by their names in the API reference, as moto's serializer does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from moto.core.model import ListShape, Shape, StructureShape
from moto.core.serialize import AttributePickerContext, XFormedAttributePicker
from moto.core.utils import get_service_model

_pick = XFormedAttributePicker()


def output_shape(action: str) -> StructureShape:
    """The shape of an action's result."""
    shape = get_service_model("ec2").operation_model(action).output_shape
    assert isinstance(shape, StructureShape)
    return shape


def member(shape: Shape, name: str) -> Shape:
    """The shape of a structure's member; of a list's elements, where it is a list of structures."""
    if isinstance(shape, ListShape):
        shape = shape.member
    assert isinstance(shape, StructureShape)
    found: Shape = shape.members[name]
    setattr(found, "parent", shape)
    return found


def read(value: Any, shape: Shape, name: str) -> Any:
    """One member of a structure, whatever moto keeps it in."""
    return _pick(AttributePickerContext(obj=value, key=name, shape=member(shape, name)))


def texts(value: Any, shape: Shape, path: list[str]) -> Iterator[str]:
    """All values at a path such as `State.Name`, through lists, as a filter compares them: as text."""
    if value is None:
        return
    if isinstance(value, list | tuple | set | frozenset):
        element = shape.member if isinstance(shape, ListShape) else shape
        for each in value:
            yield from texts(each, element, path)
    elif path:
        yield from texts(read(value, shape, path[0]), member(shape, path[0]), path[1:])
    elif isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, datetime):
        yield value.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    else:
        yield str(value)
