"""Whether an address can be listened on, before what takes long or ends otherwise is started."""

from __future__ import annotations

import errno
import socket

from segpipe.errors import SettingsError


def check_free(host: str, port: int) -> None:
    """Make sure that a server can listen there.

    Raises:
        SettingsError: if it cannot: the port is taken, or the address is not this machine's.
    """
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(
                f"port {port} of {host} is taken: end what listens there, or choose another --port"
            ) from None
        words = error.strerror or str(error)
        raise SettingsError(f"nothing can listen at {host}, port {port}: {words}") from None
