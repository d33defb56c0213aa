"""A server on this machine that serves files as badly as it is told to."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves files by path; its attributes say how badly."""

    daemon_threads = True
    drop_after: int | None = None
    """Bytes of each answer after which the connection is cut."""
    ranges = True
    tags = False
    """Whether answers have an ETag, and If-Range is obeyed."""
    lie: int | None = 0
    """Bytes that Content-Length has too many; None: there is no Content-Length."""
    content_type = "application/octet-stream"
    status = 200
    pause_s = 0.0
    """Before each 64 KiB."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = dict(files)
        self.asked: list[str | None] = []
        """The Range header of each request."""

    def url(self, name: str) -> str:
        """Return the address of a file."""
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet about clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, content = self.server, self.server.files.get(self.path[1:], b"")
        server.asked.append(self.headers.get("Range"))
        self._answer(content, f'"{hashlib.sha256(content).hexdigest()}"')

    def _answer(self, content: bytes, tag: str) -> None:
        server = self.server
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        known = not server.tags or self.headers.get("If-Range", tag) == tag
        is_part = wanted is not None and server.ranges and known
        start = int(wanted[1]) if wanted and is_part else 0
        end = int(wanted[2]) + 1 if wanted and is_part and wanted[2] else len(content)
        body = content[start:end]
        self.send_response((206 if body else 416) if is_part else server.status)
        self.send_header("Content-Type", server.content_type)
        if server.lie is not None:
            self.send_header("Content-Length", str(len(body) + server.lie))
        if server.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if is_part:
            self.send_header("Content-Range", f"bytes {f'{start}-{end - 1}' if body else '*'}/{len(content)}")
        if server.tags:
            self.send_header("ETag", tag)
        self.end_headers()
        sent = body[: server.drop_after]
        for first in range(0, len(sent), 1 << 16):
            if server.pause_s:
                threading.Event().wait(server.pause_s)
            self.wfile.write(sent[first : first + (1 << 16)])

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[Server]:
    """Serve files during the block."""
    with Server(files) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
