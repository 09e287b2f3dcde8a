"""Whether a client takes what was written for it. Rule: only a look, which costs nobody anything
unless it is made."""

import asyncio
import fcntl
import socket
import struct
import termios

# Of Linux's struct tcp_info: tcpi_bytes_acked.
BYTES_ACKED = struct.Struct("@120xQ")
QUEUED = struct.Struct("@i")


def untaken(transport: asyncio.WriteTransport) -> int:
    """0: nothing waits for the client. Else a number that is another one once it has taken more."""
    try:
        waiting = transport.get_write_buffer_size()
        if transport.get_extra_info("sslcontext") is None:
            return waiting
    except AttributeError:  # asyncio's transport for TLS, once it is closed
        return 0
    # What was encrypted has left that buffer, for one of the transport beneath, which is out of
    # reach. While anything waits there, the kernel's is not empty.
    connection = transport.get_extra_info("socket")
    try:
        (queued,) = QUEUED.unpack(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0" * 4))
        if not queued and not waiting:
            return 0
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_ACKED.size)
        return 1 + int(BYTES_ACKED.unpack(info)[0])
    except (AttributeError, OSError, ValueError, struct.error):  # closed; not Linux
        return waiting
