"""A real JupyterHub with a teacher and a student, each a user of the system, from release to feedback.

The hub runs in a view of this machine of its own: ``tljh.sh`` installs there at the places that it names,
users are made there, and all of it is gone with the last process. Only what the script fetches is left out:
packages, which are those of the tests, most of the data, and what belongs to The Littlest JupyterHub itself.
"""

import contextlib
import csv
import os
import re
import shlex
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.notebook import Notebook
from tests.classroom.sample_class import SAMPLE
from tests.lessonfile import ROOT

GUIDE = (ROOT / "classroom" / "guide.md").read_text(encoding="utf-8")
TEACHER, STUDENT, OTHER = "tilda", "anna", "bert"  # the other has no browser, but a shell
PASSWORD = "correct horse"
SOON = 180_000  # milliseconds; on a busy machine it takes long
COURSE = f"/home/{TEACHER}/my-class"
EXCHANGE = "/srv/slicewise/exchange/slicewise"
FORBIDDEN = [
    f"os.listdir({COURSE!r})",
    f"open({COURSE + '/gradebook.db'!r})",
    f"open({COURSE + '/source/sample/sample.ipynb'!r})",
    f"os.listdir({EXCHANGE + '/inbound'!r})",
    f"os.rename({EXCHANGE!r}, {EXCHANGE + '2'!r})",
    f"os.rename({EXCHANGE + '/outbound/sample'!r}, {EXCHANGE + '/outbound/mine'!r})",
    "open('/srv/slicewise/data/mine', 'w')",
    "open('/opt/slicewise/helpers/__init__.py', 'a')",
]
MODEL = "jupyterapp.shell.currentWidget.content.model.sharedModel"
IS_CODE = f"n => {MODEL}.cells[n].cell_type === 'code'"
SET_SOURCE = f"([n, source]) => {MODEL}.cells[n].setSource(source)"
HUB = """
c = get_config()  # noqa: F821
load_subconfig("/opt/tljh/config/jupyterhub_config.d/slicewise.py")
c.JupyterHub.bind_url = "http://127.0.0.1:{hub}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{inner}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy}"
c.ConfigurableHTTPProxy.command = [{python!r}, "/opt/tljh/proxy.py"]
c.ConfigurableHTTPProxy.pid_file = "/opt/tljh/proxy.pid"
c.JupyterHub.db_url = "sqlite:////opt/tljh/hub.sqlite"
c.JupyterHub.cookie_secret_file = "/opt/tljh/cookie"
c.JupyterHub.authenticator_class = "pam"
c.PAMAuthenticator.open_sessions = False  # nor does a container's system know sessions
c.Authenticator.allowed_users = {{{users}}}
c.Spawner.cmd = [{python!r}, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--LabApp.expose_app_in_browser=True"]
c.Spawner.default_url = "/lab"
c.Spawner.environment.update({{"PATH": "/opt/tljh/user/bin:/usr/bin:/bin"}})
c.Spawner.start_timeout = c.Spawner.http_timeout = 180
"""
# A proxy in Python, which needs no other language. It was not made for the messages of kernels: it does not
# tell the browser in which form the server wants them, and passes bytes on as text.
PROXY = """
from configurable_http_proxy import cli
from configurable_http_proxy.handlers import ProxyHandler
from tornado.httpclient import AsyncHTTPClient

def pass_on(self, message):
    self.ws_client.write_message(message, binary=isinstance(message, bytes))

AsyncHTTPClient.configure(None, max_clients=100)
ProxyHandler.select_subprotocol = lambda self, offered: self.ws_client.selected_subprotocol
ProxyHandler.on_message = pass_on
cli.main()
"""
# In the place of The Littlest JupyterHub's own Python: that of the tests, with no package to install.
PYTHON = """#!/bin/sh
case "$*" in
  "-m pip install -c constraints.txt -e .[classroom]") exit 0;;
  "-m data_fetchers get --all") set -- -m data_fetchers get hand_radiograph;;
  "-m helpers.registration.fast") [ -z "$NUMBA_CACHE_DIR" ] || exit 0;;
esac
exec {python} "$@"
"""


def ways():
    """Return the folders that the hub's users must reach, and those that are laid over.

    Python often lies in the home of the user who installed it, where nobody else may look.
    """
    prefixes = (sys.prefix, sys.base_prefix)
    needed = {Path(path) for each in prefixes for path in (each, os.path.realpath(each))} | {ROOT}
    closed = [[each for each in path.parents if not each.stat().st_mode & 1] for path in needed]
    return sorted(needed), sorted(
        {Path("/opt"), Path("/srv"), Path("/home")} | {each[-1] for each in closed if each}
    )


def script():
    """Return what makes the view of the machine, from the folder it is run in, and runs the hub there."""
    needed, covered = ways()

    def bind(here, there):
        there = shlex.quote(str(there))
        return [f"mkdir -p {here} {there}", f"mount --rbind {here} {there}"]

    lines = []
    for number, path in enumerate(needed):
        lines += [f"mkdir -p seen/{number}", f"mount --rbind {shlex.quote(str(path))} seen/{number}"]
    # Users of its own; what the machine knows of passwords stays outside.
    lines += [
        "mkdir etc",
        "tar -C /etc --exclude='*shadow*' -c . | tar -C etc -x",
        "touch etc/shadow etc/gshadow",
    ]
    lines += ["chmod 600 etc/shadow etc/gshadow", *bind("etc", "/etc")]
    for path in covered:
        lines += bind(f"over{path}", path)
    for number, path in enumerate(needed):
        if set(covered) & set(path.parents):
            lines += bind(f"seen/{number}", path)
    settings = shlex.quote(f"{sys.prefix}/etc/jupyter")
    lines += [f"cp -r {settings} settings", *bind("settings", settings)]
    # That the course is installed from where the script lays it, which pip would do.
    (link,) = Path(sysconfig.get_path("purelib")).glob("_*slicewise*.pth")
    lines += ["echo /opt/slicewise > link", f"mount --bind link {shlex.quote(str(link))}"]
    lines += ["mkdir -p /opt/tljh/user/bin /opt/tljh/user/etc /opt/tljh/config/jupyterhub_config.d"]
    lines += [
        f"ln -s {settings} /opt/tljh/user/etc",
        f"ln -s {shlex.quote(sys.prefix)}/bin/* /opt/tljh/user/bin",
        "rm /opt/tljh/user/bin/python*",
        "install python /opt/tljh/user/bin",
        "ln -s python /opt/tljh/user/bin/python3",
        "cp hub.py proxy.py /opt/tljh",
    ]
    lines += ["tljh-config() { echo $* >> /opt/tljh/said; }; export -f tljh-config"]
    lines += [f"bash {shlex.quote(str(ROOT))}/classroom/hub/tljh.sh"]
    for user in (TEACHER, STUDENT, OTHER):
        # Homes that others may look into, as on some systems: the course folder is closed by itself.
        lines += [f"useradd --create-home --shell /bin/bash {user}", f"chmod 755 /home/{user}"]
        lines += [f"echo '{user}:{PASSWORD}' | chpasswd"]
    lines += [f"cp {shlex.quote(str(SAMPLE))} /home/{TEACHER}", "cd /opt/tljh"]
    return "\n".join([*lines, f"exec {shlex.quote(sys.executable)} -m jupyterhub -f hub.py"])


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Hub:
    """A running hub.

    Attributes
    ----------
    address : str
        Where it listens.
    folder : Path
        Holds under ``over`` what the hub's view of the machine has in /home, /opt and /srv.
    pid : str
        The first process of that view.
    """

    def __init__(self, address, folder, pid):
        self.address, self.folder, self.pid = address, folder, pid

    def path(self, inside):
        """Return where a file of the hub's view of the machine is on this one."""
        return self.folder / "over" / inside.lstrip("/")

    def shell(self, user, command):
        """Run a command as a user who is logged in; return what it says."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "su", "-", user, "-c"]
        done = subprocess.run([*enter, command], capture_output=True, text=True)
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def hub(tmp_path_factory, sandbox_works):
    """Run a hub for the tests of this file."""
    if os.geteuid():
        pytest.skip("A hub starts servers as other users: run its tests as root.")
    folder = tmp_path_factory.mktemp("hub")
    names = dict(zip(("hub", "inner", "proxy"), free_ports(3), strict=True))
    facts = {"python": sys.executable, "users": repr([TEACHER, STUDENT])[1:-1]}
    (folder / "hub.py").write_text(HUB.format(**names, **facts))
    (folder / "proxy.py").write_text(PROXY)
    (folder / "python").write_text(PYTHON.format(python=shlex.quote(sys.executable)))
    own = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    environment = {"PATH": os.environ["PATH"], "HOME": "/opt/tljh", "LANG": "C.UTF-8"}
    with open(folder / "hub.log", "w") as log:
        machine = subprocess.Popen(
            ["unshare", *own, "bash", "-euc", script()], cwd=folder, stdout=log, stderr=log, env=environment
        )
    try:
        address = f"http://127.0.0.1:{names['hub']}"
        wait_for(lambda: machine.poll() is not None or answers(f"{address}/hub/api"), "the hub", 600)
        assert machine.poll() is None, (folder / "hub.log").read_text(errors="replace")[-5000:]
        pid = Path(f"/proc/{machine.pid}/task/{machine.pid}/children").read_text().split()[0]
        yield Hub(address, folder, pid)
    finally:
        machine.kill()
        machine.wait()
        print((folder / "hub.log").read_text(errors="replace")[-20_000:])


def answers(address):
    with contextlib.suppress(OSError):
        return urllib.request.urlopen(address, timeout=5)


def wait_for(condition, what, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.2)


class User:
    """Somebody who is logged in to the hub, with a browser of their own.

    Attributes
    ----------
    page : playwright's Page
        JupyterLab.
    asked : list of str
        All addresses that the browser has asked for.
    """

    def __init__(self, hub, browser, name):
        self.hub, self.name, self.asked, self.typed = hub, name, [], 0
        self.page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
        self.page.context.on("request", lambda request: self.asked.append(request.url))
        self.page.set_default_timeout(SOON)
        self.page.goto(f"{hub.address}/hub/login")
        self.page.fill("#username_input", name)
        self.page.fill("#password_input", PASSWORD)
        self.page.click("#login_submit")
        self.wait_for_lab()
        # Opened before Lab has heard which kernels there are, a notebook would ask for one.
        expect(self.page.locator(".jp-LauncherCard", has_text="Python 3").first).to_be_visible(timeout=SOON)

    def wait_for_lab(self):
        """Wait until JupyterLab is there."""
        self.page.wait_for_url(f"**/user/{self.name}/lab*")
        self.page.get_by_role("menuitem", name="Nbgrader", exact=True).wait_for()

    def choose(self, *menu):
        """Choose an entry of JupyterLab's menu."""
        for entry in menu:
            self.page.get_by_role("menuitem", name=entry, exact=True).click()

    def type(self, commands, seconds=240):
        """Type commands into a terminal, and wait until they have succeeded."""
        if not self.typed:
            self.page.locator(".jp-LauncherCard", has_text="Terminal").click()
            expect(self.page.locator(".jp-Terminal .xterm-screen")).to_be_visible(timeout=SOON)
        self.typed += 1
        self.page.locator(".jp-Terminal .xterm-helper-textarea").focus()
        lines = [line for line in commands.splitlines() if line]
        self.page.keyboard.type(
            "{ " + " && ".join(lines) + f"; }} > ~/said 2>&1; echo $? > ~/code-{self.typed}\n"
        )
        code = self.hub.path(f"/home/{self.name}/code-{self.typed}")
        wait_for(lambda: code.exists() and code.read_text(), commands, seconds)
        said = self.hub.path(f"/home/{self.name}/said").read_text()
        assert code.read_text() == "0\n", said
        return said


@pytest.fixture(scope="module")
def teacher(hub, chromium):
    """The teacher, who has followed the guide up to the release."""
    user = User(hub, chromium, TEACHER)
    yield user
    user.page.context.close()


@pytest.fixture(scope="module")
def student(hub, chromium):
    user = User(hub, chromium, STUDENT)
    yield user
    user.page.context.close()


def commands(number):
    """Return a block of commands of the guide's section on the hub, for the sample lesson."""
    section = GUIDE.split("#### Hand out, collect, give back\n", 1)[1]
    block = re.findall(r"^```console\n(.*?)^```$", section, flags=re.M | re.S)[number]
    return block.replace("nbgrader 1 ", f"nbgrader ~/{SAMPLE.name} ").replace("01_image_intro", "sample")


def test_teacher_releases(hub, teacher):
    teacher.type(commands(0))
    assert hub.path("/srv/slicewise/exchange/slicewise/outbound/sample/sample.ipynb").is_file()


def show(page, name):
    """Keep a picture, for eyes to look at."""
    page.screenshot(path=ROOT / "_build" / "screenshots" / f"{name}.png")


def cells(page):
    """Return the ids of the cells of the notebook that is open."""
    return page.evaluate(f"{MODEL}.cells.map(cell => cell.id)")


def test_student_fetches_works_and_submits(hub, teacher, student):
    page = student.page
    student.choose("Nbgrader", "Assignment List")
    page.locator("#released_assignments_list").get_by_role("button", name="Fetch").click()
    expect(page.locator("#fetched_assignments_list")).to_contain_text("sample", timeout=SOON)
    show(page, "hub_assignments")
    page.evaluate("jupyterapp.commands.execute('docmanager:open', { path: 'sample/sample.ipynb' })")
    page.wait_for_function(
        "jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
    )
    notebook = Notebook(page)
    (starter,) = [number for number, name in enumerate(cells(page)) if name.endswith("count-starter")]
    page.evaluate(SET_SOURCE, [starter, "n_voxels = int(np.prod(brain.image.shape))"])
    for number in range(starter + 2):
        if page.evaluate(IS_CODE, number):
            notebook.run(again=number)
    expect(page.locator(".jp-Notebook")).to_contain_text("Correct", timeout=SOON)
    show(page, "hub_answered")
    page.keyboard.press("Control+s")
    page.wait_for_function("!jupyterapp.shell.currentWidget.context.model.dirty")
    student.choose("Nbgrader", "Assignment List")
    page.locator("#fetched_assignments_list").get_by_role("button", name="Submit").click()
    expect(page.locator("#submitted_assignments_list")).to_contain_text("sample", timeout=SOON)


def test_student_has_the_shared_data_and_course(hub, student):
    page = student.page
    page.evaluate("jupyterapp.commands.execute('docmanager:open', { path: 'sample/sample.ipynb' })")
    notebook = Notebook(page)
    notebook.run("import os, helpers\nfrom data_fetchers import cache, fetch_hand_radiograph")
    notebook.run("fetch_hand_radiograph()")
    assert notebook.value("str(cache.find_made('hand_radiograph'))").startswith("/srv/slicewise/data/made/")
    assert notebook.value("helpers.__file__") == "/opt/slicewise/helpers/__init__.py"
    assert notebook.value("os.path.exists(os.path.expanduser('~/.cache/slicewise'))") is False
    assert notebook.value("sorted(os.listdir(os.path.expanduser('~/slicewise')))[0]") == "01_image_intro.md"


@pytest.mark.parametrize("deed", FORBIDDEN)
def test_student_may_not(student, deed):
    kind = Notebook(student.page).run(
        f"import os\ntry:\n    {deed}\nexcept Exception as e:\n    print(type(e).__name__)"
    )
    assert kind == "PermissionError"


def test_teacher_grades_and_nobody_hands_in_for_another(hub, teacher, student):
    forged = f"{EXCHANGE}/inbound/{STUDENT}+sample+2099-01-01 00:00:00.000000 UTC+x"
    said = hub.shell(
        OTHER, f"mkdir '{forged}' && echo '{{}}' > '{forged}/sample.ipynb' && chmod -R go+rX '{forged}'"
    )
    assert not said
    said = teacher.type(commands(1))
    assert f"sample 1/2 {STUDENT}: graded" in said and f"{OTHER}: not graded" in said
    with open(hub.path(f"{COURSE}/grades.csv"), newline="", encoding="utf-8") as file:
        grades = {row["student_id"]: (row["score"], row["max_score"]) for row in csv.DictReader(file)}
    assert grades[STUDENT] == ("1.0", "8.0")


def test_student_reads_the_feedback(hub, student):
    page = student.page
    student.choose("Nbgrader", "Assignment List")
    page.locator("#refresh_assignments_list").click()
    page.locator("#submitted_assignments_list").get_by_role("button", name="Fetch Feedback").click()
    place = hub.path(f"/home/{STUDENT}/sample/feedback")
    wait_for(lambda: list(place.glob("*/sample.html")), "the feedback")
    (feedback,) = place.glob("*/sample.html")
    name = feedback.relative_to(hub.path(f"/home/{STUDENT}"))
    student.asked.clear()
    other = page.context.new_page()
    other.goto(f"{hub.address}/user/{STUDENT}/files/{name}")
    expect(other.get_by_text("Score: 1.0 / 8.0")).to_be_visible(timeout=SOON)
    show(other, "hub_feedback")
    assert all(address.startswith((hub.address, "data:")) for address in student.asked), student.asked


def test_teacher_has_the_formgrader(hub, teacher):
    page = teacher.page
    page.goto(f"{hub.address}/hub/home")
    page.click("#stop")
    expect(page.locator("#stop")).to_be_hidden(timeout=SOON)
    page.click("#start")
    teacher.wait_for_lab()
    teacher.choose("Nbgrader", "Formgrader")
    frame = page.frame_locator("iframe").first
    expect(frame.get_by_role("row", name=re.compile("sample"))).to_be_visible(timeout=SOON)
    show(page, "hub_formgrader")
