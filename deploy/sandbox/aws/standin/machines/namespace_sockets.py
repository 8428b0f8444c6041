"""Sockets that listen in another network namespace than this process's."""

from __future__ import annotations

import ctypes
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_CLONE_NEWNET = 0x40000000


def listen(namespace: Path, address: str, port: int) -> socket.socket:
    """Opens a socket that listens on an address of a namespace. Raises `OSError`."""

    def enter_and_listen() -> socket.socket:
        handle = os.open(namespace, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(handle, _CLONE_NEWNET) != 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code), str(namespace))
        finally:
            os.close(handle)
        listener = socket.socket()
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            listener.listen(64)
        except OSError:
            listener.close()
            raise
        return listener

    # A thread enters a namespace alone, and this one ends there; a socket stays where it was made.
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(enter_and_listen).result()
