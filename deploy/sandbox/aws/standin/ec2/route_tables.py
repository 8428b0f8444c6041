"""Route tables: the main one, associations, and the routes that cannot be."""

from __future__ import annotations

from typing import Any

from moto.ec2.models.route_tables import Route

from standin.calls import Call
from standin.ec2.existence import find
from standin.ec2.registry import EC2
from standin.errors import AwsError
from standin.moto_backend import ec2
from standin.world import World


@EC2.before("DeleteRouteTable")
def check_deletion(world: World, call: Call) -> None:
    """Neither the main one nor one with associations."""
    table = find(ec2(call), call.params["RouteTableId"])
    if table.main_association_id is not None or table._associations:
        raise AwsError("DependencyViolation", f"The routeTable '{table.id}' has dependencies and cannot be deleted.")


@EC2.before("AssociateRouteTable")
def check_association(world: World, call: Call) -> None:
    """A subnet has one table, of its own network."""
    table, subnet = find(ec2(call), call.params["RouteTableId"]), find(ec2(call), call.params.get("SubnetId") or "")
    if subnet is None:
        return
    if table.vpc_id != subnet.vpc_id:
        raise AwsError(
            "InvalidParameterValue", f"Route table {table.id} and network {subnet.id} belong to different networks"
        )
    for other in ec2(call).route_tables.values():
        if other is not table and subnet.id in other._associations.values():
            raise AwsError(
                "Resource.AlreadyAssociated",
                f"the specified association for route table {table.id} conflicts with an existing association",
            )


@EC2.before("DisassociateRouteTable")
def check_disassociation(world: World, call: Call) -> None:
    """The association of the main table stays."""
    association = call.params["AssociationId"]
    if any(table.main_association_id == association for table in ec2(call).route_tables.values()):
        raise AwsError("InvalidParameterValue", f"cannot disassociate the main route table association {association}")


@EC2.before("CreateRoute", "ReplaceRoute")
def check_target(world: World, call: Call) -> None:
    """A gateway must be attached to the table's network."""
    table, gateway_id = find(ec2(call), call.params["RouteTableId"]), call.params.get("GatewayId") or ""
    if gateway_id.startswith("igw-"):
        attached = find(ec2(call), gateway_id).vpc
        if attached is None or attached.id != table.vpc_id:
            raise AwsError(
                "InvalidParameterValue",
                f"route table {table.id} and network gateway {gateway_id} belong to different networks",
            )


@EC2.before("CreateRoute")
def check_destination(world: World, call: Call) -> None:
    """One route for a destination."""
    destination = call.params.get("DestinationCidrBlock")
    if _route(call, destination) is not None:
        raise AwsError("RouteAlreadyExists", f"The route identified by {destination} already exists.")


@EC2.before("DeleteRoute")
def check_route(world: World, call: Call) -> None:
    """An existing one, and not the local one."""
    destination, table_id = call.params.get("DestinationCidrBlock"), call.params["RouteTableId"]
    if destination is None:
        return
    route = _route(call, destination)
    if route is None:
        raise AwsError(
            "InvalidRoute.NotFound", f"no route with destination-cidr-block {destination} in route table {table_id}"
        )
    if route.local:
        raise AwsError("InvalidParameterValue", f"cannot remove local route {destination} in route table {table_id}")


def table_of(backend: Any, subnet: Any) -> Any:
    """The table of a subnet: the one that it is associated with, or the main one of its network."""
    tables = [each for each in backend.route_tables.values() if each.vpc_id == subnet.vpc_id]
    associated = next((each for each in tables if subnet.id in each._associations.values()), None)
    return associated or next(each for each in tables if each.main_association_id is not None)


def _route(call: Call, destination: str | None) -> Any:
    routes = find(ec2(call), call.params["RouteTableId"]).routes
    return next((each for each in routes if each.destination_cidr_block == destination), None)


def _state(route: Any) -> str:
    """A route through a gateway that is no longer attached leads nowhere."""
    gateway = route.gateway
    detached = gateway is not None and getattr(gateway, "vpc", "not an internet gateway") is None
    gone = (
        gateway is not None
        and gateway.id.startswith("igw-")
        and gateway.id not in gateway.ec2_backend.internet_gateways
    )
    return "blackhole" if detached or gone else "active"


# moto calls every route active.
setattr(Route, "state", property(_state))
