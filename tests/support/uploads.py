"""A receiver of uploads on loopback whose main thread keeps what it is sent in memory."""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from datamover.agent.children import Stop
from datamover.agent.errors import Failure, Stopped
from datamover.agent.importer.upload.receiver import Offer, Receiver, load_tls
from datamover.api import transfer, upload
from support.certificates import make_certificate

UID = "6f1a3c52-0000-4000-8000-000000000001"
KEY = b"k" * upload.KEY_BYTES
DISK = bytes(range(256)) * 4096


@dataclass
class Running:
    """A receiver that runs, and how to speak to it."""

    receiver: Receiver
    stop: Stop
    certificate: Path
    taken: list[bytes] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def connect(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=str(self.certificate))
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return http.client.HTTPSConnection("127.0.0.1", self.receiver.port, context=context, timeout=20)

    def open(self) -> ssl.SSLSocket:
        """A bare connection, for clients that say what they please."""
        context = ssl._create_unverified_context()
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.receiver.port), timeout=20))

    def send(
        self,
        body: bytes | Iterator[bytes],
        *,
        method: str = "PUT",
        path: str = upload.PATH,
        token: str | None = None,
        **headers: str,
    ) -> tuple[int, upload.Received | None]:
        connection = self.connect()
        given = {"Authorization": f"Bearer {token if token is not None else self.token()}"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.closing(connection):
            connection.request(method, path, body=body, headers=given, encode_chunked=not isinstance(body, bytes))
            answer = connection.getresponse()
            return answer.status, upload.read_received(answer.read())

    def say(self, raw: bytes) -> bytes:
        """Say this, and return the first line of the answer."""
        with contextlib.closing(self.open()) as connection:
            connection.sendall(raw)
            return connection.makefile("rb").readline().strip()

    def token(self) -> str:
        return upload.sign(KEY, uid=UID, now=time.time())


@contextlib.contextmanager
def running(
    folder: Path,
    *,
    archive: bool = False,
    pair: tuple[Path, Path] | None = None,
    idle: float = 20.0,
    limit: float = upload.DEFAULT_LIMIT,
    refuse: Callable[[bytes], Failure | None] = lambda _: None,
    broken: Callable[[], bool] = lambda: False,
) -> Iterator[Running]:
    """Run a receiver, with the certificate and key of `pair` or one of its own. `refuse` says of what has come why it is not taken; `broken`: it takes it, and the answer is lost."""
    certificate, key = pair or make_certificate(folder)
    stop, said = Stop(grace=1), []
    receiver = Receiver(
        tls=load_tls(str(certificate), str(key)),
        key=KEY,
        uid=UID,
        archive=archive,
        stop=stop,
        say=said.append,
        port=0,
        idle=idle,
        limit=limit,
    )
    found = Running(receiver, stop, certificate, said=said)

    def fill(offer: Offer) -> None:
        try:
            data = b"".join(offer.pieces())
            refusal = refuse(data)
            if refusal is not None:
                raise refusal
        except Failure as failure:
            found.failures.append(failure)
            receiver.refuse(offer, failure)
            return
        except Stopped:
            receiver.refuse(offer, Failure(transfer.INTERRUPTED, transfer.REASON_INTERRUPTED, "stopped"))
            raise
        found.taken.append(data)
        if broken():
            offer.wire.close(unread=False)
        receiver.accept(offer, disk=len(data))

    def main() -> None:
        with contextlib.suppress(Stopped):
            while True:
                fill(receiver.take())

    with receiver.listening():
        thread = threading.Thread(target=main)
        thread.start()
        try:
            yield found
        finally:
            stop.request(transfer.INTERRUPTED)
            thread.join(20)
            assert not thread.is_alive()


def wait_until(true: Callable[[], bool], *, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
