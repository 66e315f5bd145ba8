"""A cache of its own for each test, and a local web server that can misbehave."""

import pytest

from data_fetchers import cache
from tests.data_fetchers import faults


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Two empty cache folders: the one that SLICEWISE_DATA names, and the user's own."""
    shared, own = tmp_path / "shared", tmp_path / "own"
    monkeypatch.setenv("SLICEWISE_DATA", str(shared))
    monkeypatch.delenv("SLICEWISE_SOURCE", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(cache.platformdirs, "user_cache_path", lambda *_, **__: own)
    monkeypatch.setattr(cache, "_verified", set())
    monkeypatch.setattr(cache, "PAUSE_S", 0)
    return shared, own


@pytest.fixture
def start_python():
    return faults.start_python


@pytest.fixture(scope="session")
def eight(tmp_path_factory):
    """Eight processes have fetched the same simulated data at once: their cache and what each printed."""
    folder = tmp_path_factory.mktemp("eight") / "cache"
    code = "import data_fetchers; d = data_fetchers.fetch_epi('bundled'); print(d, d.paths)"
    processes = [faults.start_python(code, folder) for _ in range(8)]
    return folder, [process.communicate(timeout=120) for process in processes]


@pytest.fixture
def made(eight, monkeypatch):
    """A cache folder in which the simulated EPI lies ready."""
    monkeypatch.setenv("SLICEWISE_DATA", str(eight[0]))
    return eight[0]


@pytest.fixture
def server():
    server = faults.Server()
    yield server
    server.close()
