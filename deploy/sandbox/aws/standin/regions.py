"""The regions that the stand-in answers for."""

from __future__ import annotations

from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend

#: Names of all regions that moto knows zones of.
KNOWN = frozenset(RegionsAndZonesBackend.zones)
