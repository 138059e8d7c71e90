"""ZeroMQ: sockets between the processes of one machine (`zmq_ipc`) and between machines (`zmq_tcp`).

A transport makes a plan of plain data, a link opens it, channels use the link; the supervisor watches every link, and
the access control answers for the sockets that admit listed clients only.
"""

from eis.msgbus.transports.zmq.transport import IpcTransport, TcpTransport

__all__ = ["IpcTransport", "TcpTransport"]
