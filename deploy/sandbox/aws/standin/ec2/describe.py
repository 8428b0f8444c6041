"""The describes: ids, filters and pages, in one way for all of them.

moto pages DescribeInstances only, fails on filters it does not know, and compares some without wildcards. So it is
asked for everything, and the choice is made here.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from moto.core.model import ListShape, Shape

from standin.behaviours import Stage
from standin.calls import Call
from standin.ec2.attributes import member, output_shape, texts
from standin.ec2.filters import Filters
from standin.ec2.listings import LISTINGS, RESERVATION_FILTERS, IdParameter, Listing
from standin.ec2.paging import Page
from standin.ec2.registry import EC2
from standin.errors import AwsError
from standin.world import World

_EVERYTHING = 1_000_000


@dataclass
class _Wish:
    """What a describe asks for, taken out of its parameters."""

    page: Page
    ids: list[tuple[IdParameter, list[str]]]
    filters: list[dict[str, Any]]
    #: For DescribeInstanceStatus: also those that do not run.
    all_instances: bool


@EC2.before("Describe*", stage=Stage.PREPARE)
def take_the_wish(world: World, call: Call) -> None:
    """Leaves moto a call without ids, filters and pages."""
    if "NextToken" not in output_shape(call.action).members and call.action not in LISTINGS:
        return
    listing = LISTINGS.get(call.action)
    ids: list[tuple[IdParameter, list[str]]] = []
    filters: list[dict[str, Any]] = []
    if listing is not None:
        ids = [(each, call.params.pop(name)) for name, each in listing.ids.items() if call.params.get(name)]
        filters = call.params.pop("Filters", [])
    call.notes["wish"] = _Wish(
        Page(call, ids_given=bool(ids)), ids, filters, call.params.pop("IncludeAllInstances", False)
    )
    if call.action == "DescribeInstances":
        call.params["MaxResults"] = _EVERYTHING
    if call.action == "DescribeInstanceStatus":
        # One that does not run is left out, but it is not unknown.
        call.params["IncludeAllInstances"] = True


@EC2.after("DescribeInstances")
def choose_instances(world: World, call: Call, result: Any) -> Any:
    """Reservations hold the instances, and each is shown with those of its instances that were asked for."""
    wish: _Wish = call.notes["wish"]
    listing = LISTINGS["DescribeInstances"]
    reservation_shape = member(output_shape(call.action), "Reservations").member
    instance_shape = member(reservation_shape, "Instances").member
    outer = Filters(
        [each for each in wish.filters if each.get("Name") in RESERVATION_FILTERS],
        RESERVATION_FILTERS,
        reservation_shape,
    )
    inner = Filters(
        [each for each in wish.filters if each.get("Name") not in RESERVATION_FILTERS], listing.filters, instance_shape
    )
    pairs = [
        (reservation, instance)
        for reservation in result["Reservations"]
        if outer.match(reservation)
        for instance in reservation.instances
    ]
    for parameter, wanted in wish.ids:
        _refuse_unknown(parameter, wanted, {instance.id for _, instance in pairs})
        pairs = [pair for pair in pairs if pair[1].id in wanted]
    pairs = [pair for pair in pairs if inner.match(pair[1])]
    pairs, token = wish.page.cut(pairs, [instance.id for _, instance in pairs])
    shown: dict[str, Any] = {}
    for reservation, instance in pairs:
        if reservation.id not in shown:
            shown[reservation.id] = copy.copy(reservation)
            shown[reservation.id].instances = []
        shown[reservation.id].instances.append(instance)
    return {"Reservations": list(shown.values()), "NextToken": token}


@EC2.after("Describe*")
def choose(world: World, call: Call, result: Any) -> Any:
    """Any other describe: a flat list of items."""
    wish: _Wish | None = call.notes.get("wish")
    if wish is None or call.action == "DescribeInstances":
        return None
    listing = LISTINGS.get(call.action)
    shape = output_shape(call.action)
    name = listing.result if listing else _list_of(shape)
    items_shape = member(shape, name)
    assert isinstance(items_shape, ListShape)
    items = list(result[name] or [])
    if listing is not None:
        items = _chosen(items, listing, wish, items_shape.member)
        identities = [_identity(item, listing, items_shape.member) for item in items]
    else:
        identities = [str(position) for position in range(len(items))]
    page, token = wish.page.cut(items, identities)
    return {**result, name: page, "NextToken": token}


def _chosen(items: list[Any], listing: Listing, wish: _Wish, shape: Shape) -> list[Any]:
    for parameter, wanted in wish.ids:
        path = parameter.path.split(".")
        named = [(next(iter(texts(item, shape, path)), ""), item) for item in items]
        _refuse_unknown(parameter, wanted, {name for name, _ in named})
        items = [item for name, item in named if name in wanted]
    if listing is LISTINGS["DescribeInstanceStatus"] and not wish.all_instances:
        items = [item for item in items if item.state == "running"]
    filters = Filters(wish.filters, listing.filters, shape)
    return [item for item in items if filters.match(item)]


def _identity(item: Any, listing: Listing, shape: Shape) -> str:
    paths = [parameter.path for parameter in listing.ids.values()] or list(listing.filters.values())
    return "/".join(text for path in paths for text in texts(item, shape, path.split(".")))


def _refuse_unknown(parameter: IdParameter, wanted: list[str], known: set[str]) -> None:
    for each in wanted:
        if each not in known:
            raise AwsError(parameter.code, parameter.message.format(each))


def _list_of(shape: Any) -> str:
    """The name of the one list in a result."""
    return next(str(name) for name, each in shape.members.items() if isinstance(each, ListShape))
