"""What the tests of grading need on this machine."""

import sys

import pytest

from classroom import sandbox


@pytest.fixture(scope="session")
def sandbox_works():
    """Fail, with what to install, where there could be a sandbox and is none; skip where there cannot."""
    problem = sandbox.why_not()
    if problem and sys.platform != "linux":
        pytest.skip(problem)
    if problem:
        pytest.fail(problem, pytrace=False)
