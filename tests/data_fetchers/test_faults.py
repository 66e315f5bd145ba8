"""Each row of the table of faults is sound, and the table can tell."""

import pytest

from tests.data_fetchers import faults


@pytest.mark.parametrize("name", faults.FAULTS)
def test_fault(name):
    row = faults.row(name)
    assert row.ok, row


@pytest.fixture
def unsound(monkeypatch):
    """Three faults that are not survived."""
    rows = {
        "silence": lambda place: place.toy(place.server.answer("/toy", faults.CONTENT)) or place.fails(),
        "traceback": lambda place: 1 / 0,
        "half a file": lambda place: (
            (place.shared / "toy").mkdir(parents=True)
            or (place.shared / faults.PATH).write_bytes(b"half")
            or "told"
        ),
    }
    for name, function in rows.items():
        monkeypatch.setitem(faults.FAULTS, name, function)
    return rows


def test_table_finds_what_is_not_sound(unsound, capsys):
    assert not any(faults.row(name).ok for name in unsound)
    assert faults.main(["403", *unsound]) == 1
    assert faults.main(["403"]) == 0
    assert "1 of 4 are sound." in capsys.readouterr().out
