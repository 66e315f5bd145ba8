import gc
import json
import re
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import traitlets
from IPython.core.events import EventManager, available_events
from phantoms import straight
from scipy.ndimage import gaussian_filter

from helpers import RegistrationMonitor
from helpers.registration import demons
from helpers.viewing import monitor as module
from helpers.viewing import widget
from helpers.viewing.monitor import FOLDED, jacobian_colours, residual_limit
from helpers.viewing.slices import auto_window, to_levels

RNG = np.random.default_rng(0)
FIXED = gaussian_filter(RNG.normal(size=(40, 36)), 3)
MOVING = np.roll(FIXED, 1, axis=0)
BRIGHT = np.exp(6 * FIXED)  # few voxels are much brighter than the rest, and fewer when blurred
WATCHED = module._WATCHED


@pytest.fixture(scope="module", autouse=True)
def runs_are_watched_from_their_first_state():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_WATCHED", 0)
        yield


@pytest.fixture(scope="module")
def run():
    """Return a monitor after a run and its result, the result shown, and the frames that were drawn."""
    monitor, frames = RegistrationMonitor(FIXED, MOVING), []
    monitor.observe(lambda change: frames.append(change.new), "_frame")
    result = demons(FIXED, MOVING, levels=2, iterations=10, callback=monitor)
    return monitor.show(result), result, [frame for frame in frames if frame]


def field_of(frame, name):
    nodes = frame["planes"][0][name]
    at = np.frombuffer(nodes["at"], "<f4").reshape(len(nodes["y"]), len(nodes["x"]), 2)
    return at, np.array(nodes["x"]), np.array(nodes["y"])


def test_a_run_is_drawn_from_its_first_state(run):
    _, _, frames = run
    assert (frames[0]["level"], frames[0]["iteration"]) == (0, 0)
    plane = frames[0]["planes"][0]
    assert len(plane["grey"]) == plane["rows"] * plane["columns"] == 20 * 18
    for name in ("displacement", "update"):
        at, x, y = field_of(frames[0], name)
        np.testing.assert_allclose(at[..., 0], np.broadcast_to(x, at.shape[:2]), atol=1e-6)
        np.testing.assert_allclose(at[..., 1], np.broadcast_to(y[:, None], at.shape[:2]), atol=1e-6)


def test_afterwards_all_can_be_browsed(run):
    monitor, result, _ = run
    assert monitor._frame is None
    assert len(monitor._history) == len(result.history)
    assert monitor._names[:4] == ("fixed", "moving", "warped", "Jacobian")
    np.testing.assert_array_equal(monitor._volumes[2].data[..., 0], result.warped)
    pictures = set()
    for shown in ("fixed", "moving", "warped", "difference", "Jacobian"):
        monitor.shown = shown
        pictures.add(monitor._still())
    assert len(pictures) == 5
    page = monitor.to_html()
    state = json.loads(re.search(r'type="application/json">(.*?)</script>', page).group(1))
    assert len(state["_history"]) == len(result.history)
    assert state["_scene"]["roles"][-2:] == ["field", "field"]
    assert len(state["_voxels"]["layers"]) == len(state["_scene"]["roles"]) == 6


def state(level, iteration, displacement, shape=(8, 8, 4)):
    warped = np.zeros(shape, np.float32)
    warped[6, 2, 3] = 1
    field = np.asarray(displacement, np.float32)
    return SimpleNamespace(
        level=level, levels=1, iteration=iteration, msd=1.0, fixed=warped, warped=warped,
        lattice_displacement=field, lattice_update=0 * field,
    )  # fmt: skip


def test_nodes_move_towards_where_the_fixed_grid_looks():
    """Towards the patient's right is to the right of the picture, and up in the body is up."""
    for codes, right in (("RAS", 1), ("LAS", -1)):
        monitor = RegistrationMonitor(straight(codes), straight(codes))
        field = np.zeros((3, 4, 5, 3))
        field[0] = 0.5 * right  # half a step of the lattice, of which there are four
        field[2] = 0.25
        monitor(state(0, 0, field))
        axial, coronal, _ = monitor._frame["planes"]
        at, x, _ = field_of({"planes": [axial]}, "displacement")
        np.testing.assert_allclose(at[0, :, 0], x + 0.5 / 4, atol=1e-6)
        at, _, y = field_of({"planes": [coronal]}, "displacement")
        np.testing.assert_allclose(at[:, 0, 1], y - 0.25 / 3, atol=1e-6)


class Clock:
    """Time that passes when it is told to, in seconds."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(module, "perf_counter", lambda: self.now)


@pytest.mark.parametrize("cost", [0.001, 0.01, 0.1])
def test_pictures_take_a_small_share_of_the_time(monkeypatch, cost):
    clock, drawn = Clock(monkeypatch), []
    monkeypatch.setattr(module, "_WATCHED", WATCHED)
    monitor = RegistrationMonitor(straight(), straight())

    def draw():
        drawn.append(clock.now)
        clock.now += cost

    monkeypatch.setattr(monitor, "_draw", draw)
    for _ in range(2):  # registrations
        begun = clock.now
        drawn.clear()
        for iteration in range(10_000):
            monitor(state(0, iteration, np.zeros((3, 4, 5, 3))))
            clock.now += 0.001
        assert 0.25 <= drawn[0] - begun < 0.252
        # What the browser was measured to take counts, too; of a run that is watched, 6 % are for both.
        spent, whole = (cost + 0.022) * len(drawn), clock.now - begun
        assert 0.8 * 0.06 * whole < spent <= 0.06 * whole
        gaps = np.diff(drawn)
        assert np.ptp(gaps) < 0.003  # evenly, that is
        assert len(monitor._rows) == 10_000


def test_with_a_pause_all_iterations_are_drawn_and_wait(monkeypatch):
    monkeypatch.setattr(module, "_WATCHED", WATCHED)
    waited, frames = [], []
    monkeypatch.setattr(module, "sleep", waited.append)
    monitor = RegistrationMonitor(straight(), straight(), pause=0.05)
    monitor.observe(lambda change: frames.append(change.new["iteration"]), "_frame")
    for iteration in range(20):
        monitor(state(0, iteration, np.zeros((3, 4, 5, 3))))
    assert frames == list(range(20)) and waited == [0.05] * 20


@pytest.mark.parametrize("pause", [-1, np.nan, np.inf, None, "1", 1j])
def test_a_pause_is_a_number_of_seconds(pause):
    with pytest.raises(ValueError, match=r"^pause=.* must be a number of seconds, 0 or more\.$"):
        RegistrationMonitor(straight(), straight(), pause=pause)


def test_a_run_too_short_to_be_watched_is_drawn_when_its_cell_has_ended(monkeypatch):
    shell, clock, frames = SimpleNamespace(), Clock(monkeypatch), []
    shell.events = EventManager(shell, available_events)
    monkeypatch.setattr(module, "_WATCHED", WATCHED)
    for where in (module, widget):
        monkeypatch.setattr(where, "get_ipython", lambda: shell)
    monitor = RegistrationMonitor(straight(), straight())
    monitor.observe(lambda change: frames.append(change.new), "_frame")

    def run():
        for iteration in range(20):
            clock.now += 0.01
            monitor(state(0, iteration, np.zeros((3, 4, 5, 3))))

    run()
    run()
    assert frames == [] and monitor._history == []
    shell.events.trigger("post_execute")
    assert [frame["iteration"] for frame in frames] == [19]
    assert [row[1] for row in monitor._history] == list(range(20))
    shell.events.trigger("post_execute")
    assert len(frames) == 1

    run()
    monitor.show(result())
    shell.events.trigger("post_execute")  # must not cover the result
    assert monitor._frame is None

    run()
    monitor.close()
    shell.events.trigger("post_execute")  # must not fail


def test_no_value_is_no_grey():
    monitor = RegistrationMonitor(straight(), straight())
    first = state(0, 0, np.zeros((3, 4, 5, 3)))
    first.warped[0, 0, 2] = np.nan
    monitor(first)
    grey = greys(monitor)  # RAS, axial, the middle slice of four: the first voxel is at the lower left
    assert grey[-1, 0] == 0
    assert np.count_nonzero(grey == 0) == 1


def greys(monitor, plane=0):
    """Return the grey pixels of a plane of the frame, (rows, columns)."""
    drawn = monitor._frame["planes"][plane]
    return np.frombuffer(drawn["grey"], np.uint8).reshape(drawn["rows"], drawn["columns"])


def test_the_crosshair_can_move_after_a_run_that_is_not_shown():
    """Also through the last state, for which there was no time."""
    monitor = RegistrationMonitor(straight(), straight())
    monitor(state(0, 0, np.zeros((3, 4, 5, 3))))
    monitor._due = np.inf
    last = state(0, 1, np.zeros((3, 4, 5, 3)), shape=(9, 11, 7))
    monitor(last)
    assert monitor._frame["iteration"] == 0
    assert monitor._frame["index"] == list(monitor.index) == [4, 5, 3]
    for k, bright in ((3, 1), (2, 0)):
        monitor.cursor_vox = 6.0, 2.0, float(k)
        assert (monitor._frame["iteration"], monitor._frame["index"]) == (1, [6, 2, k])
        assert np.count_nonzero(greys(monitor) > 1) == bright
    assert [row[1] for row in monitor._history] == [0, 1]


def test_a_coarse_level_shows_the_slice_nearest_to_the_crosshair():
    monitor = RegistrationMonitor(straight(), straight())
    monitor(state(0, 0, np.zeros((3, 4, 5, 3)), shape=(8, 8, 4)))  # bright in the last of four slices
    shown = []
    for k in range(7):  # whose centres lie at 0.3, 0.9, ... 3.7 slices of the level
        monitor.index = 4, 5, k
        shown.append(bool((greys(monitor) > 1).any()))
    assert shown == [False] * 5 + [True] * 2


@pytest.mark.parametrize("shown", [True, False])
def test_a_result_or_the_end_lets_go_of_the_last_state(shown):
    monitor = RegistrationMonitor(straight(), straight())
    last = state(0, 0, np.zeros((3, 4, 5, 3)))
    monitor(last)
    seen = weakref.ref(last.warped)
    del last
    if shown:
        still = np.zeros((9, 11, 7), np.float32)
        monitor.show(SimpleNamespace(warped=still, displacement=np.stack([still] * 3), history=[]))
        monitor.index = 1, 1, 1
        assert monitor._frame is None
    else:
        monitor.close()
        monitor.index = 1, 1, 1
    gc.collect()
    assert seen() is None


def test_the_grey_is_that_of_the_result_on_any_level():
    fixed = np.exp(RNG.normal(size=(40, 36)))  # a few voxels are much brighter than the rest
    monitor = RegistrationMonitor(fixed, fixed)
    first = state(0, 0, np.zeros((2, 4, 5)), shape=(10, 9, 4))
    first.warped = gaussian_filter(fixed, 4)[::4, ::4]  # coarse levels are blurred, and have no bright voxels
    monitor(first)
    z_scored = (fixed - fixed.mean()) / fixed.std()
    last = state(1, 7, np.zeros((2, 20, 18)))
    last.warped = z_scored
    monitor(last)
    monitor._draw()
    for window in (auto_window(fixed), (0.0, 1.0)):
        monitor.window_moving = window
        np.testing.assert_allclose(greys(monitor), np.maximum(to_levels(fixed, *window), 1), atol=1)


def test_a_run_looks_as_its_result():
    monitor = RegistrationMonitor(BRIGHT, np.roll(BRIGHT, 1, axis=0))
    result = demons(BRIGHT, np.roll(BRIGHT, 1, axis=0), levels=2, iterations=10, callback=monitor)
    monitor._draw()
    live = greys(monitor).astype(float)
    monitor.show(result)
    shown = to_levels(result.warped, *monitor.window_moving)
    inside = np.isfinite(result.warped)
    assert live[inside].mean() == pytest.approx(shown[inside].mean(), rel=0.05)
    assert np.mean(live == 255) < 0.01


def test_a_second_run_begins_anew():
    monitor = RegistrationMonitor(straight(), straight())
    for iteration in (0, 1, 0):
        monitor(state(0, iteration, np.zeros((3, 4, 5, 3))))
    assert [row[1] for row in monitor._rows] == [0]


def test_a_run_that_is_joined_late_is_drawn():
    monitor = RegistrationMonitor(straight(), straight())
    monitor(state(1, 7, np.zeros((3, 4, 5, 3))))
    assert (monitor._frame["level"], monitor._frame["iteration"]) == (1, 7)
    assert monitor._history == [[1, 7, 1.0]]


def test_a_closed_monitor_lets_the_run_go_on_and_shows_nothing():
    monitor = RegistrationMonitor(straight(), straight())
    monitor.close()
    monitor(state(0, 0, np.zeros((3, 4, 5, 3))))
    assert monitor._frame is None
    with pytest.raises(ValueError, match="monitor is closed: make a new one"):
        monitor.show(result())
    with pytest.raises(ValueError, match="A closed RegistrationMonitor has no image"):
        monitor.to_html()


@pytest.mark.parametrize("n_axes", [2, 3])
def test_a_run_of_another_dimension_is_refused(n_axes):
    grid = (9, 11, 7)
    images, run = np.zeros(grid[:n_axes]), np.zeros(grid[: 5 - n_axes])
    monitor = RegistrationMonitor(images, images)
    field = np.zeros((run.ndim, *(3, 3, 3)[: run.ndim]))
    words = f"registration is of {run.ndim}D images, but the monitor's have the shape"
    with pytest.raises(ValueError, match=words) as caught:
        monitor(SimpleNamespace(level=0, iteration=0, msd=1.0, warped=run, lattice_displacement=field))
    assert "\n" not in str(caught.value)
    assert monitor._frame is None and monitor._last is None


def result(**other):
    """Return a result of the 9 × 11 × 7 images that moved nothing."""
    still = {"warped": np.zeros((9, 11, 7)), "displacement": np.zeros((3, 9, 11, 7)), "history": []}
    return SimpleNamespace(**(still | other))


@pytest.mark.parametrize(
    ("other", "error", "words"),
    [
        ({"warped": np.zeros((9, 77))}, ValueError, "warped image's shape"),
        ({"warped": np.zeros((7, 11, 9))}, ValueError, "warped image's shape"),
        ({"warped": np.zeros((9, 11, 7), complex)}, TypeError, "warped image must hold real numbers"),
        ({"warped": None}, TypeError, "has no warped"),
        ({"displacement": np.zeros((2, 9, 11))}, ValueError, "displacement's shape"),
        (
            {"displacement": np.zeros((3, 9, 11, 7), complex)},
            TypeError,
            "displacement must hold real numbers",
        ),
        ({"displacement": None}, TypeError, "has no displacement"),
        ({"history": None}, TypeError, "has no history"),
        ({"history": [{"level": 0, "iteration": 0}]}, ValueError, "row of the result's history"),
        ({"history": [{"level": 0, "iteration": 0, "msd": "x"}]}, ValueError, "row of the result's history"),
        ({"history": [3]}, ValueError, "row of the result's history"),
    ],
)
def test_a_bad_result_gets_one_sentence_and_changes_nothing(other, error, words):
    monitor = RegistrationMonitor(straight(), straight())
    monitor(state(0, 0, np.zeros((3, 4, 5, 3))))
    seen = ("_names", "_volumes", "_history", "_frame", "_scene", "_voxels")
    before = {name: getattr(monitor, name) for name in seen}
    with pytest.raises(error, match=words) as caught:
        monitor.show(result(**other))
    assert "\n" not in str(caught.value)
    assert all(
        getattr(monitor, name) is value or getattr(monitor, name) == value for name, value in before.items()
    )


def test_what_is_left_has_colours_of_its_own():
    fixed, moving = np.zeros((10, 10)), np.full((10, 10), 100.0)
    for left, limit in ((50.0, 50.0), (-7.0, 7.0), (1e-6, 5.0)):  # next to nothing is not blown up
        warped = fixed - left
        monitor = RegistrationMonitor(fixed, moving)
        assert monitor._scene["limit"] == 100
        field = np.zeros((2, 10, 10))
        monitor.show(SimpleNamespace(warped=warped, displacement=field, history=[]))
        assert monitor._scene["limit"] == pytest.approx(limit)
        assert residual_limit(fixed, moving, warped) == pytest.approx(limit)


@pytest.mark.parametrize(
    ("image", "axes"), [(np.eye(9), ["down", "right"]), (straight("PSL"), ["i", "j", "k"])], ids=["2D", "3D"]
)
def test_displacements_are_named_as_the_axes_are(image, axes):
    monitor, shape = RegistrationMonitor(image, image), image.shape
    field = np.zeros((len(shape), *shape))
    monitor.show(SimpleNamespace(warped=np.zeros(shape), displacement=field, history=[]))
    assert list(monitor._names[4:]) == [f"displacement {axis}" for axis in axes]


def test_what_is_no_result_is_told_by_its_type():
    with pytest.raises(TypeError, match="show needs what demons returns: this NoneType has no warped"):
        RegistrationMonitor(straight(), straight()).show(None)


@pytest.mark.parametrize("msd", [np.nan, np.inf])
def test_a_difference_that_is_no_number_is_no_point_of_the_curve(msd):
    monitor = RegistrationMonitor(straight(), straight())
    rows = [{"level": 0, "iteration": n, "msd": value} for n, value in enumerate((2.0, msd, 1.0))]
    wanted = [[0, 0, 2.0], [0, 1, None], [0, 2, 1.0]]
    monitor.show(result(history=rows))
    assert monitor._history == wanted
    assert f'"_history": {json.dumps(wanted)}' in monitor.to_html()
    live = state(0, 0, np.zeros((3, 4, 5, 3)))
    live.msd = msd
    monitor(live)
    assert monitor._rows == [[0, 0, None]]


def test_a_fold_is_seen():
    rgb = jacobian_colours(np.array([[1.0, 2.0, 0.3, 0.0, -1.0]]), 1.0)[0].astype(int)
    assert rgb[0].min() > 240
    assert rgb[1][0] > rgb[1][2]
    assert rgb[2][2] > rgb[2][0]
    assert tuple(rgb[3]) == tuple(rgb[4]) == FOLDED


def test_what_cannot_be_watched_gets_one_sentence():
    with pytest.raises(ValueError, match="two images of numbers"):
        RegistrationMonitor(np.zeros((3, 4, 5, 6)), np.zeros((3, 4, 5, 6)))
    with pytest.raises(ValueError, match="moving image's shape"):
        RegistrationMonitor(FIXED, FIXED[1:])
    monitor = RegistrationMonitor(FIXED, MOVING)
    with pytest.raises(ValueError, match="displacement's shape"):
        monitor.show(SimpleNamespace(displacement=np.zeros((2, 5, 5)), warped=FIXED, history=[]))
    with pytest.raises(traitlets.TraitError, match="shown must be"):
        monitor.shown = "mask"
