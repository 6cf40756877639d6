"""Stand-ins for what hands out credentials at a cloud: STS, a Pod identity agent and instance metadata, on one port of loopback."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQifQ.c2lnbmF0dXJl"
"""What a kubelet writes into a file for a service account."""
ROLE = "arn:aws:iam::111122223333:role/mover"
SESSION_TOKEN = "FwoGZXIvYXdzEHoaDHNlc3Npb24+/=token"


class Identity:
    """Hands out `access_key` and `secret_key` to who shows the token (and the role). `asked` has what was asked for."""

    def __init__(self, *, access_key: str, secret_key: str) -> None:
        self.asked: list[str] = []
        identity = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                asked = {name: values[0] for name, values in parse_qs(body).items()}
                identity.asked.append(f"STS {asked.get('Action')}")
                if (asked.get("WebIdentityToken"), asked.get("RoleArn")) != (TOKEN, ROLE):
                    self._answer(
                        403,
                        "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>"
                        "<Message>Not authorized to perform sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>",
                    )
                    return
                self._answer(
                    200,
                    "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
                    f"<AccessKeyId>{access_key}</AccessKeyId><SecretAccessKey>{secret_key}</SecretAccessKey>"
                    f"<SessionToken>{SESSION_TOKEN}</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration>"
                    "</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
                )

            def do_GET(self) -> None:
                identity.asked.append(self.path)
                handed = {
                    "Code": "Success",
                    "AccessKeyId": access_key,
                    "SecretAccessKey": secret_key,
                    "Token": SESSION_TOKEN,
                    "Expiration": "2100-01-01T00:00:00Z",
                }
                if self.path == "/v1/credentials" and self.headers.get("Authorization") != TOKEN:
                    self._answer(401, "{}")
                elif self.path.endswith("/security-credentials/"):
                    self._answer(200, "node-role")
                else:
                    self._answer(200, json.dumps(handed))

            def do_PUT(self) -> None:
                identity.asked.append(self.path)
                self._answer(200, "metadata-token", {"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": "21600"})

            def _answer(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
                raw = text.encode()
                self.send_response(status)
                for name, value in {**(headers or {}), "Content-Length": str(len(raw))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where all of them answer."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
