"""Key pairs: imported keys must be keys, and one can be deleted by its id."""

from __future__ import annotations

from moto.ec2.utils import public_key_parse

from standin.calls import Call
from standin.ec2.registry import EC2
from standin.errors import AwsError
from standin.moto_backend import ec2
from standin.world import World


@EC2.before("ImportKeyPair")
def check_material(world: World, call: Call) -> None:
    """An OpenSSH public key, of RSA or ed25519. A name in use is refused first."""
    if call.params.get("KeyName") in ec2(call).key_pairs:
        return
    try:
        public_key_parse(call.params.get("PublicKeyMaterial", b""))
    except ValueError:
        raise AwsError("InvalidKey.Format", "Key is not in valid OpenSSH public key format") from None


@EC2.before("DeleteKeyPair")
def name_by_id(world: World, call: Call) -> None:
    """moto deletes by name alone."""
    wanted = call.params.get("KeyPairId")
    found = next((each for each in ec2(call).key_pairs.values() if each.id == wanted), None)
    if found is not None:
        call.params["KeyName"] = found.key_name
