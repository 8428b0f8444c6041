"""Small Linux machines that run what the instances of the stand-in run, started with `--machines FOLDER`.

`fleet.py` follows the instances through their states, `machine.py` is one machine's life, `boot` its first process.
`network.py` joins machines to their VPCs and VPCs to the internet, after `view.py` has read what the API says of them
and `firewall.py` has put that into rules. `imds.py` is the metadata service. `keeper` ends all with the stand-in.
"""
