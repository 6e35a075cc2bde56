"""What the endpoint grants to connections and requests."""

from __future__ import annotations

from dataclasses import dataclass

_MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Of one server.

    Attributes:
        body_bytes: of a request's body.
        spool_bytes: of a body in memory while it arrives; what is beyond is on disk.
        memory_bytes: of all bodies in memory together, as they were sent: a half for those that
            fit in memory while they arrive, a half for those that come back from disk.
        head_seconds: for a request's line and headers, from the connection or the answer before.
        idle_seconds: without a byte of a body.
        body_seconds: for a body, and a second more for each ``body_rate`` bytes that came.
        body_rate: bytes a second below which a body is too slow.
        keep_alive_seconds: of silence after an answer.
        connections: in all.
        connections_per_address: of one client's address.
        call_seconds: within which a further request of the same call is expected.
        held_seconds: an answer is held for requests of the same call that are on their way.
        ending_seconds: for a client to send its request or fetch its answer once the server ends.
    """

    body_bytes: int = 512 * _MIB
    spool_bytes: int = 16 * _MIB
    memory_bytes: int = 1024 * _MIB
    head_seconds: float = 15.0
    idle_seconds: float = 30.0
    body_seconds: float = 60.0
    body_rate: int = 16 * 1024
    keep_alive_seconds: int = 5
    connections: int = 256
    connections_per_address: int = 64
    call_seconds: float = 0.15
    held_seconds: float = 10.0
    ending_seconds: float = 2.0
