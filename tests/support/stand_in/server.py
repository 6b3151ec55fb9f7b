"""The stand-in's two HTTP servers: Prolific's API, and the host that its archives lie on."""

from __future__ import annotations

import hashlib
import io
import json
import re
import secrets
import threading
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs, quote, urlsplit

from tap_prolific_export.prolific import contract
from tests.support.stand_in.world import Fault, Hosted, Job, Submission, World

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Buffer, Self

ID = r"(?P<id>[^/]+)"
# How long a server takes to notice that it is to stop: most tests start and stop two.
POLL_SECONDS = 0.002
END = 1 << 20


class StandIn:
    """Both servers on loopback, each on a port of its own; a context manager.

    The archives' host has another name than the API's, as in life, so that what a client does per
    host (.netrc, cookies) can be told apart.

    Args:
        world: What they serve.
        port: The API's port; 0: any that is free.
        tls: Serve https with this, instead of http.
    """

    def __init__(self, world: World, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.world = world
        self.signed: dict[str, tuple[Job, datetime]] = {}
        handlers = [type(h.__name__, (h,), {"stand_in": self}) for h in (_Api, _Archives)]
        self._servers = [
            ThreadingHTTPServer(("127.0.0.1", port if i == 0 else 0), handler)
            for i, handler in enumerate(handlers)
        ]
        for server in self._servers:
            server.daemon_threads = True
            if tls:
                server.socket = tls.wrap_socket(server.socket, server_side=True)
        scheme = "https" if tls else "http"
        self.api_url = f"{scheme}://127.0.0.1:{self._servers[0].server_port}"
        self.archives_url = f"{scheme}://localhost:{self._servers[1].server_port}"

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(POLL_SECONDS,), daemon=True).start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def presign(self, job: Job) -> tuple[str, datetime]:
        """Return a URL for the job's archive, and when it stops working.

        Some of the query is quoted although it need not be (%7E): whoever decodes and encodes it
        anew breaks the signature.
        """
        expires = self.world.now() + timedelta(seconds=self.world.url_seconds)
        disposition = quote(f'attachment; filename="export~{job.export_id}.zip"')
        query = (
            f"response-content-disposition={disposition.replace('~', '%7E')}"
            "&X-Amz-Algorithm=AWS4-HMAC-SHA256"
            "&X-Amz-Credential=STANDIN%2Feu-west-2%2Fs3%2Faws4_request"
            f"&X-Amz-Expires={self.world.url_seconds}&X-Amz-SignedHeaders=host"
            f"&X-Amz-Signature={secrets.token_hex(32)}"
        )
        self.signed[query] = (job, expires)
        return f"{self.archives_url}/exports/{job.export_id}.zip?{query}", expires


def _pattern(call: contract.Call) -> str:
    """Return the regular expression of a call's path."""
    kinds = "|".join(kind.value for kind in call.kinds)
    return call.path.format(kind=f"(?P<kind>{kinds})", id=ID, export_id="(?P<job>[^/]+)")


class _CountedSocket(io.RawIOBase):
    """The writable side of a connection; counts what is sent.

    Args:
        connection: The socket.
        count: Is called with numbers of bytes; a negative one takes back what was not sent.
    """

    def __init__(self, connection: socket.socket, count: Callable[[int], None]) -> None:
        self._connection = connection
        self._count = count

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        size, sent = memoryview(data).nbytes, 0
        self._count(size)  # before the client can have it
        try:
            sent = self._connection.send(data)
        finally:
            self._count(sent - size)
        return sent


class _Handler(BaseHTTPRequestHandler):
    stand_in: ClassVar[StandIn]
    name: ClassVar[str]
    lost: Fault | None = None
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body in one piece: apart, each answer waits 40 ms for an ACK

    @property
    def world(self) -> World:
        return self.stand_in.world

    def setup(self) -> None:
        super().setup()
        self.wfile = io.BufferedWriter(_CountedSocket(self.connection, self.count), self.wbufsize)

    def count(self, sent: int) -> None:
        with self.world.lock:
            self.world.bytes_sent[self.name] += sent

    def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002
        return format_datetime(self.world.now(), usegmt=True)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: tests read `World.requests`."""

    def disturbed(self) -> bool:
        """Write the request down; return whether a fault has answered it already."""
        self.world.requests.append((self.name, self.command, self.path, dict(self.headers)))
        if self.name == "api":
            self.world.watch(f"{self.command} {self.path}")
        self.lost = None
        fault = self.world.fault(self.name, f"{self.command} {self.path}")
        if fault is None:
            return False
        if fault.after:
            self.lost = fault
            return False
        self.go_wrong(fault)
        return True

    def go_wrong(self, fault: Fault) -> None:
        """Answer as the fault has it."""
        if fault.status == 0:
            self.close_connection = True
            return
        length = {"Content-Length": str(len(fault.body))}
        body = fault.body[: len(fault.body) - fault.body_missing]
        self.answer(fault.status, body, length | fault.headers)
        if fault.stalls:
            self.wfile.flush()
            fault.stalls.set()
            self.rfile.read(1)  # until the client hangs up
        self.close_connection = bool(fault.body_missing)

    def answer(self, status: int, body: bytes | memoryview, headers: dict[str, str]) -> None:
        if self.lost:
            lost, self.lost = self.lost, None
            self.go_wrong(lost)
            return
        self.send_response_only(status)
        headers = {"Date": self.date_time_string(), **headers}
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class _Api(_Handler):
    name = "api"

    def do_GET(self) -> None:
        self.route()

    def do_POST(self) -> None:
        self.route()

    def do_DELETE(self) -> None:
        self.route()

    def json(self, status: int, value: Any) -> None:
        self.answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def error(self, status: int, title: str, detail: Any) -> None:
        self.json(
            status,
            {
                "error": {
                    "status": status,
                    "error_code": status * 1000,
                    "title": title,
                    "detail": detail,
                    "additional_information": "/api/v1/errors/",
                    "traceback": None,
                    "interactive": False,
                }
            },
        )

    def route(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.disturbed():
            return
        path = urlsplit(self.path).path
        self.query = {k: v[0] for k, v in parse_qs(urlsplit(self.path).query).items()}
        routes: list[tuple[str, str, Callable[..., None]]] = [
            ("GET", f"{contract.API}/users/me/", self.me),  # for people: the tap does not call it
            *((call.method, _pattern(call), handler) for call, handler in self.calls()),
            ("POST", rf"/_stand_in/(?P<kind>[a-z]+)/{ID}/submissions", self.submit),
            ("DELETE", rf"/_stand_in/(?P<kind>[a-z]+)/{ID}/submissions/(?P<sub>.+)", self.withdraw),
        ]
        if not path.startswith("/_stand_in/") and (
            self.headers.get("Authorization") != f"Token {self.world.token}"
        ):
            self.error(401, "Authentication credentials are not valid.", "Invalid token.")
            return
        with self.world.lock:
            for method, pattern, handler in routes:
                match = re.fullmatch(pattern, path)
                if match and method == self.command:
                    self.dispatch(handler, match.groupdict())
                    return
        self.error(404, "Not found", "There is nothing here.")

    def calls(self) -> list[tuple[contract.Call, Callable[..., None]]]:
        return [
            (contract.LIST_DATA_COLLECTIONS, self.list_hosted),
            (contract.GET_COLLECTION, self.look_up),
            (contract.GET_BATCH, self.look_up),
            (contract.GET_BATCH_INSTRUCTIONS, self.instructions),
            (contract.REQUEST_EXPORT, self.start),
            (contract.LIST_EXPORTS, self.list_jobs),
            (contract.GET_EXPORT, self.job),
            (contract.DELETE_EXPORT, self.delete_job),
        ]

    def dispatch(self, handler: Callable[..., None], found: dict[str, str]) -> None:
        if "id" not in found:
            handler(**found)
            return
        hosted = self.world.hosted.get((found.pop("kind"), found.pop("id")))
        if hosted is None:
            self.error(404, "Not found", "No data collection matches the given query.")
        elif hosted.id in self.world.forbidden:
            self.error(403, "Forbidden", "You do not have access to this workspace.")
        elif hosted.workspace_id in self.world.not_enabled:
            self.error(403, "Forbidden", "This feature is not enabled for your workspace.")
        else:
            handler(hosted, **found)

    def me(self) -> None:
        self.json(200, {"id": "stand-in-researcher", "email": "researcher@example.com"})

    def list_hosted(self, kind: str) -> None:
        workspace = self.query.get("workspace_id")
        if workspace is None:
            self.error(400, "Bad request", {"workspace_id": ["This field is required."]})
            return
        found = [
            {"id": h.id, **h.metadata}
            for h in self.world.hosted.values()
            if h.kind == kind and h.workspace_id == workspace
        ]
        if "limit" in self.query and not self.world.takes_limit:
            self.error(400, "Bad request", {"limit": ["Unknown parameter."]})
            return
        begin = int(self.query.get("offset", 0))
        size = min(self.world.page_size, int(self.query.get("limit", self.world.page_size)))
        meta = {"meta": {"count": len(found)}} if self.world.counts else {}
        self.json(200, {"results": found[begin : begin + size], **meta})

    def look_up(self, hosted: Hosted) -> None:
        layout = {hosted.layout_field: hosted.layout or None}
        self.json(200, {"id": hosted.id, **hosted.metadata, **layout})

    def instructions(self, hosted: Hosted) -> None:
        self.json(200, hosted.instructions)

    def start(self, hosted: Hosted) -> None:
        if "from" in self.query and not self.world.takes_from:
            self.error(400, "Bad request", {"from": ["Unknown parameter."]})
            return
        job = self.world.start_job(hosted, self.query)
        if job is None:
            self.error(
                self.world.refuses_with, "Conflict", "Too many exports exist: delete one first."
            )
        elif job.status == contract.COMPLETE:
            self.json(200, self.complete(job, with_id=False))
        else:
            self.json(202, {"status": self.status(job), "export_id": job.export_id})

    def status(self, job: Job) -> str:
        return self.world.generating if job.status == contract.GENERATING else job.status

    def complete(self, job: Job, *, with_id: bool) -> dict[str, Any]:
        self.world.handed_out[job.of] = job
        url, expires = self.stand_in.presign(job)
        named = {"export_id": job.export_id} if with_id else {}
        return {"status": contract.COMPLETE, **named, "url": url, "expires_at": expires.isoformat()}

    def find(self, hosted: Hosted, job: str) -> Job | None:
        jobs = self.world.jobs[hosted.kind, hosted.id]
        found = next((each for each in jobs if each.export_id == job), None)
        if found is None:
            self.error(404, "Not found", "No such export.")
        return found

    def job(self, hosted: Hosted, job: str) -> None:
        if found := self.find(hosted, job):
            self.world.poll(found)
            if found.status == contract.COMPLETE:
                self.json(200, self.complete(found, with_id=False))
            else:
                self.json(200, {"status": self.status(found), "export_id": found.export_id})

    def list_jobs(self, hosted: Hosted) -> None:
        if self.world.generation == "idempotent":
            self.error(405, "Method not allowed", "Method GET not allowed.")
            return
        self.json(
            200,
            [
                {
                    "export_id": job.export_id,
                    "filter": job.filter or None,
                    "status": self.status(job),
                    "created_at": job.created_at.isoformat().replace("+00:00", "Z"),
                }
                for job in self.world.jobs[hosted.kind, hosted.id]
            ],
        )

    def delete_job(self, hosted: Hosted, job: str) -> None:
        if self.world.generation == "idempotent":
            self.error(405, "Method not allowed", "Method DELETE not allowed.")
        elif found := self.find(hosted, job):
            if found.status == contract.GENERATING:
                self.error(409, "Conflict", "The export is still being generated.")
            else:
                self.world.jobs[hosted.kind, hosted.id].remove(found)
                self.answer(204, b"", {})

    def submit(self, hosted: Hosted) -> None:
        """Add a submission by hand: the body is its line."""
        line = json.loads(self.body)
        submission = Submission(line, self.world.now(), str(line.get("study_id")))
        self.world.submit(hosted, submission)
        self.json(201, line)

    def withdraw(self, hosted: Hosted, sub: str) -> None:
        """Withdraw a submission by hand."""
        self.world.withdraw(hosted, sub)
        self.answer(204, b"", {})


class _Archives(_Handler):
    """A host of presigned archives: GET only, without a second authentication."""

    name = "archives"

    def do_HEAD(self) -> None:
        if not self.disturbed():
            self.xml(403, "SignatureDoesNotMatch", "The URL is signed for GET.")

    def do_GET(self) -> None:
        if self.disturbed():
            return
        if "Authorization" in self.headers:
            self.xml(400, "InvalidArgument", "Only one auth mechanism allowed")
            return
        job, expires = self.stand_in.signed.get(urlsplit(self.path).query, (None, None))
        if job is None or expires is None:
            self.xml(403, "SignatureDoesNotMatch", "The signature does not match.")
        elif self.world.now() >= expires:
            self.xml(403, "AccessDenied", "Request has expired")
        else:
            self.serve(job)

    def xml(self, status: int, code: str, message: str) -> None:
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        self.answer(status, body.encode(), {"Content-Type": "application/xml"})

    def serve(self, job: Job) -> None:
        on_disk = self.world.hosted[job.of].archive_on_disk
        # Slices of a view are no copies: an archive on disk may be larger than the memory.
        archive = memoryview(on_disk or job.archive)
        # Digesting all of it for each request would take long. Its end holds every checksum.
        digested = archive[-END:] if on_disk else archive
        etag = f'"{hashlib.md5(digested, usedforsecurity=False).hexdigest()}"'
        written = job.finished_at or job.created_at
        headers = {
            "ETag": etag,
            "Last-Modified": format_datetime(written.astimezone(timezone.utc), usegmt=True),
            "Accept-Ranges": "bytes",
            "Content-Type": "application/zip",
        }
        if self.headers.get("If-Match") not in {None, etag}:
            self.xml(412, "PreconditionFailed", "The archive is another one.")
            return
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
        if wanted is None or not any(wanted.groups()) or not self.world.takes_ranges:
            self.answer(200, archive, headers)
            return
        size = len(archive)
        if wanted[1]:
            first, last = int(wanted[1]), min(int(wanted[2] or size), size - 1)
        else:
            first, last = max(0, size - int(wanted[2])), size - 1
        if first > last:
            self.answer(416, b"", {"Content-Range": f"bytes */{size}"})
            return
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        self.answer(206, archive[first : last + 1], headers)
