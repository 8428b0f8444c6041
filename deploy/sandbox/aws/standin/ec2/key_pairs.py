"""Key pairs: imported keys must be keys."""

from __future__ import annotations

from moto.ec2.utils import public_key_parse

from standin.behaviours import Stage
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


@EC2.before("DeleteKeyPair", stage=Stage.PREPARE)
def name_for_id(_world: World, call: Call) -> None:
    """A key pair can be named by its id; moto knows it by its name alone. One that does not exist is no error."""
    identifier = call.params.pop("KeyPairId", None)
    if identifier is not None:
        names = (name for name, pair in ec2(call).key_pairs.items() if pair.id == identifier)
        call.params["KeyName"] = next(names, identifier)
