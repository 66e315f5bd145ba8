"""A cache of its own for each test, and a local web server that can misbehave."""

import http.server
import os
import subprocess
import sys
import threading
import time

import pytest

from data_fetchers import cache


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Two empty cache folders: the one that SLICEWISE_DATA names, and the user's own."""
    shared, own = tmp_path / "shared", tmp_path / "own"
    monkeypatch.setenv("SLICEWISE_DATA", str(shared))
    monkeypatch.delenv("SLICEWISE_SOURCE", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(cache.platformdirs, "user_cache_path", lambda *_, **__: own)
    monkeypatch.setattr(cache, "_verified", set())
    return shared, own


def _start_python(code, folder):
    """Start a Python process with its own cache folder."""
    environment = os.environ | {"SLICEWISE_DATA": str(folder), "XDG_CACHE_HOME": str(folder) + "-own"}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def start_python():
    return _start_python


@pytest.fixture(scope="session")
def eight(tmp_path_factory):
    """Eight processes have fetched the same simulated data at once: their cache and what each printed."""
    folder = tmp_path_factory.mktemp("eight") / "cache"
    code = "import data_fetchers; d = data_fetchers.fetch_epi('bundled'); print(d, d.paths)"
    processes = [_start_python(code, folder) for _ in range(8)]
    return folder, [process.communicate(timeout=120) for process in processes]


@pytest.fixture
def made(eight, monkeypatch):
    """A cache folder in which the simulated EPI lies ready."""
    monkeypatch.setenv("SLICEWISE_DATA", str(eight[0]))
    return eight[0]


class Server:
    """A web server on this machine; `answers` holds what it sends by path, `asked` the paths asked for."""

    def __init__(self):
        self.answers, self.asked = {}, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                status, body, length, wait = outer.answers.get(self.path, (404, b"", 0, 0))
                self.send_response(status)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                time.sleep(wait)
                self.wfile.write(body[len(body) // 2 :])

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, path, body, status=200, length=None, wait=0.0):
        """Set the answer to a path; a `length` beyond the body's cuts it off; `wait` seconds halfway."""
        self.answers[path] = (status, body, len(body) if length is None else length, wait)
        return self.address + path

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()
