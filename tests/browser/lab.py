"""A real JupyterLab or Notebook 7 in a real browser, for tests.

    with Lab(tmp_path) as lab:
        lab.write("a.ipynb", ["1 + 1"])  # a second argument of `open` opens it in Notebook 7
        page = lab.open("a.ipynb")
        page.run_cell(0)
        page.outputs(0)          # as the notebook's model has them, in nbformat

Playwright's synchronous interface keeps an event loop running in the thread that uses it, where then no test could
call `asyncio.run`. So it lives in a thread of its own, and every call here is handed over to that thread.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import nbformat

from tests.support.ports import CONFIG, free_port
from tests.support.servers import end, install_kernels

T = TypeVar("T")

PROJECT = Path(__file__).parents[2]
START_SECONDS = 60.0
WAIT_SECONDS = 40.0
LOOK_MILLISECONDS = 30
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # a container's /dev/shm is too small for 10 MB of output
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Nothing that is shown in a test may reach beyond this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
SETTINGS = {
    # Cells out of view would otherwise not be in the page.
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
# Each page would have the server start node, to see whether JupyterLab wants to be built anew.
PAGE_CONFIG = {"buildAvailable": False, "buildCheck": False}
# The notebook of that path, in the window that shows it.
FIND = """
(path) => {
  const app = window.jupyterapp;
  if (!app) return null;
  for (const widget of app.shell.widgets('main'))
    if (widget.context?.path === path && widget.sessionContext && widget.content?.widgets) return widget;
  return null;
}
"""


def find_chromium() -> str:
    """Give the path of Chromium, "" when there is none."""
    usual = "/usr/bin/chromium"
    return usual if os.access(usual, os.X_OK) else shutil.which("chromium") or shutil.which("chromium-browser") or ""


class Lab:
    """One server with JupyterLab and Notebook 7, and one browser, both private and both ended by `close`.

    `directory` holds all that they write; notebooks lie in `root_dir`, by default `directory/root`. The kernels can
    import the package from this source tree. `env` is added to the server's environment. The browser is started
    when the first notebook is opened.
    """

    def __init__(self, directory: Path, *, root_dir: Path | None = None, env: dict[str, str] | None = None) -> None:
        self.directory = directory
        self.root_dir = root_dir or directory / "root"
        self.env = env or {}
        self.token = secrets.token_hex(16)
        self.port = 0
        self.pages: list[Page] = []
        self._numbers = itertools.count()
        self._server: subprocess.Popen[bytes] | None = None
        self._playwright: Any = None
        self.browser: Any = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="playwright")

    def __enter__(self) -> Lab:
        try:
            self._start_server()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def runtime_dir(self) -> Path:
        return self.directory / "runtime"

    def call(self, work: Callable[[], T]) -> T:
        """Run `work` in Playwright's thread, and wait for it."""
        return self._thread.submit(work).result()

    def write(self, path: str, cells: Sequence[str] = ("",), kernel: str = "python3") -> Path:
        """Write a notebook with these code cells at `path`, relative to the root."""
        file = self.root_dir / path
        file.parent.mkdir(parents=True, exist_ok=True)
        code: list[dict[str, Any]] = [
            {
                "cell_type": "code",
                "id": f"cell-{i}",
                "metadata": {},
                "execution_count": None,
                "outputs": [],
                "source": s,
            }
            for i, s in enumerate(cells)
        ]
        metadata = {"kernelspec": {"name": kernel, "display_name": kernel}}
        file.write_text(json.dumps({"cells": code, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}))
        return file

    def open(self, path: str, app: str = "lab", *, keep: bool = False) -> Page:
        """Open the notebook at `path` in a window of its own (`app`: `lab` or `notebook`), until its kernel is idle."""
        page = self.window(app, keep=keep)
        page.open(path)
        return page

    def window(self, app: str = "lab", *, keep: bool = False) -> Page:
        """Give a new window, for `Page.open`. One to `keep` is not closed after the test, but by whoever opened it."""
        self.call(self._start_browser)
        page = Page(self, f"test{next(self._numbers)}", app)
        page.keep = keep
        self.pages.append(page)
        return page

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the server's REST API, and give the JSON that it answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            headers = {"Authorization": f"token {self.token}"}
            connection.request(method, "/" + path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse().read()
            return json.loads(answer) if answer else None
        finally:
            connection.close()

    def start(self, path: str, kernel: str = "python3") -> str:
        """Start a kernel for the notebook at `path`, which nobody opens; give its id."""
        self.write(path, kernel=kernel)
        model = {"path": path, "name": path, "type": "notebook", "kernel": {"name": kernel}}
        return str(self.rest("POST", "api/sessions", model)["kernel"]["id"])

    def end_sessions(self) -> None:
        """End all kernels of notebooks."""
        for session in self.rest("GET", "api/sessions"):
            self.rest("DELETE", f"api/sessions/{session['id']}")

    def close(self) -> None:
        """End the browser, then the server with its kernels."""
        try:
            self.call(self._stop_browser)
        finally:
            self._thread.shutdown()
            self._stop_server()

    def _start_server(self) -> None:
        self.port = free_port()
        self.root_dir.mkdir(parents=True, exist_ok=True)
        argv = [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            *("--ip=127.0.0.1", f"--port={self.port}", "--ServerApp.port_retries=0"),
            *(f"--IdentityProvider.token={self.token}", f"--ServerApp.root_dir={self.root_dir}"),
            "--LabApp.expose_app_in_browser=True",
            "--JupyterNotebookApp.expose_app_in_browser=True",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.news_url=",
        ]
        with (self.directory / "server.log").open("ab") as log:
            self._server = subprocess.Popen(
                argv, env=self._environment(), cwd=self.root_dir, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self._wait_for_server()

    def _environment(self) -> dict[str, str]:
        names = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
        }
        for name in names.values():
            (self.directory / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        install_kernels(self.directory / "data")
        for plugin, settings in SETTINGS.items():
            file = self.directory / "settings" / f"{plugin}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(settings))
        file = self.directory / "config" / "labconfig" / "page_config.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(PAGE_CONFIG))
        (self.directory / "config" / "jupyter_server_config.py").write_text(CONFIG)
        env = {key: value for key, value in os.environ.items() if not key.startswith(("JUPYTER", "JPY_"))}
        env |= {key: str(self.directory / name) for key, name in names.items()}
        path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH", "")]))
        return env | {"PYTHONPATH": path, "PYDEVD_DISABLE_FILE_VALIDATION": "1"} | self.env

    def _wait_for_server(self) -> None:
        assert self._server
        end = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError, ValueError):
                if "version" in self.rest("GET", "api"):
                    return
            if self._server.poll() is not None or time.monotonic() > end:
                log = (self.directory / "server.log").read_text(errors="replace")
                raise RuntimeError(f"the server did not start:\n{log[-3000:]}")
            time.sleep(0.05)  # a port that will be listened on cannot be awaited in any other way

    def _stop_server(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            end(server)

    def _start_browser(self) -> None:
        if self.browser:
            return
        from playwright.sync_api import sync_playwright

        self._playwright = sync_playwright().start()
        # One context for all windows, with a profile on the disk: each would otherwise load JupyterLab's 20 MB anew,
        # and compile them.
        self.browser = self._playwright.chromium.launch_persistent_context(
            self.directory / "profile",
            executable_path=find_chromium(),
            args=CHROMIUM_OPTIONS,
            viewport={"width": 1280, "height": 900},
        )

    def _stop_browser(self) -> None:
        if self.browser:
            self.browser.close()
        if self._playwright:
            self._playwright.stop()


class Page:
    """One window of the browser. Its methods act on the notebook that was opened or chosen last.

    `errors` are the JavaScript errors and `requests` the URLs that the window has seen. What has no method of its
    own here is done with `do`: `page.do(lambda window: window.keyboard.press("Tab"))`.
    """

    def __init__(self, lab: Lab, workspace: str, app: str) -> None:
        self.lab = lab
        self.app = app
        self.path = ""
        self.keep = False
        self.workspace = workspace
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._window: Any = None

    def do(self, work: Callable[..., T]) -> T:
        """Run `work` on Playwright's own `Page`, in the thread where that is allowed."""
        return self.lab.call(lambda: work(self._window))

    def open(self, path: str) -> None:
        """Open `path`, in this window beside what is open (in Notebook 7: instead), until its kernel is idle."""
        self.path = path
        if self._window is None:
            self.lab.call(self._open_window)
        if self.app == "lab" and self.do(lambda window: window.url).startswith(self.lab.url):
            # what it gives is the whole widget, which would be handed over piece by piece, for seconds
            self.js("window.jupyterapp.commands.execute('docmanager:open', {path: arg}).then(() => true)", path)
        else:
            place = f"lab/workspaces/{self.workspace}/tree" if self.app == "lab" else "notebooks"
            url = f"{self.lab.url}{place}/{quote(path)}?token={self.lab.token}"
            self.do(lambda window: window.goto(url + "&reset" * (self.app == "lab")))
        self.wait_for("notebook?.context.isReady && notebook.content.widgets.length")
        self.wait_idle()

    def choose(self, path: str) -> None:
        """Act on another notebook, already open in this window, from now on."""
        self.path = path
        self.js("window.jupyterapp.shell.activateById(notebook.id)")

    def js(self, code: str, arg: Any = None) -> Any:
        """Evaluate JavaScript: `notebook` is the panel, `cells` its cells, `kernel` the connection, `arg` the value."""
        script = _script(f"return {code};", asynchronous=True)
        return self.do(lambda window: window.evaluate(script, [self.path, arg]))

    def wait_for(self, code: str, arg: Any = None, seconds: float = WAIT_SECONDS) -> Any:
        """Wait until JavaScript, as for `js`, gives something true, and give that."""
        script = _script(f"return {code};")

        def wait(window: Any) -> Any:
            # Its default is to look with each picture, which makes the page draw sixty of them in a second.
            found = window.wait_for_function(
                script, arg=[self.path, arg], timeout=seconds * 1000, polling=LOOK_MILLISECONDS
            )
            return found.json_value()

        return self.do(wait)

    def wait_idle(self, seconds: float = WAIT_SECONDS) -> None:
        """Wait until nothing that was run here is at work any more, and the kernel says that it is idle."""
        self.wait_for("!(window.testRuns > 0) && kernel?.status === 'idle'", seconds=seconds)

    def set_cell(self, index: int, source: str) -> None:
        """Give a cell its source; cells up to it are added where they are missing."""
        self.js(_SET_CELL, [index, source])

    def delete_cells(self, first: int) -> None:
        """Delete the cells from `first` on."""
        self.js("notebook.content.model.sharedModel.deleteCellRange(arg, cells.length)", first)

    def run_cell(
        self, index: int, source: str | None = None, *, wait: bool = True, seconds: float = WAIT_SECONDS
    ) -> None:
        """Run a cell, with `source` if that is given. Without `wait` return at once: it may ask for input."""
        if source is not None:
            self.set_cell(index, source)
        self.js(_RUN, [index, "notebook:run-cell"])
        if wait:
            self.wait_idle(seconds)

    def run_cells(self, indices: Sequence[int], *, seconds: float = WAIT_SECONDS) -> None:
        """Run cells one after the other, whatever becomes of each."""
        for index in indices:
            self.js(_RUN_TO_END, index)
        self.wait_idle(seconds)

    def run_all(self, *, wait: bool = True, seconds: float = WAIT_SECONDS) -> None:
        """Run all cells, as the menu does: what stands after an error does not run."""
        self.js(_RUN, [0, "notebook:run-all-cells"])
        if wait:
            self.wait_idle(seconds)

    def outputs(self, index: int) -> list[dict[str, Any]]:
        """Give a cell's outputs as they will be saved."""
        outputs: list[dict[str, Any]] = self.js("cells[arg].model.outputs.toJSON()", index)
        return outputs

    def execution_count(self, index: int) -> int | None:
        """Give the number in the brackets, None for an empty or starred prompt."""
        count: int | None = self.js("cells[arg].model.executionCount", index)
        return count

    def text(self, index: int) -> str:
        """Give what can be read below a cell, as the page shows it."""
        text: str = self.js("cells[arg].outputArea.node.innerText", index)
        return text.replace("\u00a0", " ").strip()

    def wait_text(self, index: int, text: str, seconds: float = WAIT_SECONDS) -> None:
        """Wait until `text` can be read below a cell."""
        self.wait_for("cells[arg[0]].outputArea.node.innerText.includes(arg[1])", [index, text], seconds)

    def answer(self, index: int, text: str) -> str:
        """Answer what a cell asks; give the type of the box. Boxes of earlier cells may still be there."""
        self.wait_for("cells[arg].outputArea.node.querySelector('input.jp-Stdin-input')", index)
        self.js("cells[arg].node.id = 'cell-' + arg", index)

        def fill(window: Any) -> str:
            box = window.locator(f"#cell-{index} input.jp-Stdin-input")
            kind = str(box.evaluate("box => box.type"))
            box.fill(text)
            box.press("Enter")
            return kind

        kind = self.do(fill)
        self.wait_for("!document.getElementById('cell-' + arg).querySelector('input.jp-Stdin-input')", index)
        return kind

    def answer_input(self, text: str) -> None:
        """Wait until a cell asks for input, and answer."""

        def answer(window: Any) -> None:
            box = window.locator("input.jp-Stdin-input:visible")
            box.fill(text, timeout=WAIT_SECONDS * 1000)
            box.press("Enter")

        self.do(answer)

    def type(self, index: int, text: str) -> None:
        """Type at the end of a cell, as a hand does: for completion and tooltips."""
        self.js(
            "(notebook.content.activeCellIndex = arg, notebook.content.mode = 'edit', cells[arg].editor.focus())", index
        )
        self.do(lambda window: (window.keyboard.press("Control+End"), window.keyboard.insert_text(text)))

    def stop_button(self) -> None:
        """Click the toolbar's Stop button."""
        self.js("window.jupyterapp.shell.activateById(notebook.id)")
        button = ".jp-NotebookPanel-toolbar [data-jp-item-name=interrupt] :is(jp-button, button):visible"
        self.do(lambda window: window.locator(button).first.click(timeout=WAIT_SECONDS * 1000))

    def save(self) -> dict[str, Any]:
        """Save the notebook, and give what then lies on the disk, with lines joined."""
        self.js("notebook.context.save().then(() => true)")
        return dict(nbformat.read(self.lab.root_dir / self.path, as_version=4))

    def screenshot(self, path: Path | str, index: int | None = None) -> None:
        """Take a picture of the window, or of one cell with its outputs."""

        def take(window: Any) -> None:
            if index is None:
                window.screenshot(path=str(path))
            else:
                cell = window.evaluate_handle(_script("return cells[arg].node;"), [self.path, index]).as_element()
                cell.screenshot(path=str(path))

        self.do(take)

    def close(self) -> None:
        """Close the window; the kernels go on."""
        window, self._window = self._window, None
        if window is not None:
            self.lab.call(window.close)
        if self in self.lab.pages:
            self.lab.pages.remove(self)

    def _open_window(self) -> None:
        self._window = self.lab.browser.new_page()
        self._window.set_default_timeout(WAIT_SECONDS * 1000)
        self._window.on("pageerror", lambda error: self.errors.append(str(error)))
        self._window.on("request", lambda request: self.requests.append(request.url))


def _script(body: str, asynchronous: bool = False) -> str:
    return f"""{"async " * asynchronous}([path, arg]) => {{
      const notebook = ({FIND})(path);
      const cells = notebook?.content.widgets;
      const kernel = notebook?.sessionContext.session?.kernel;
      {body}
    }}"""


_SET_CELL = """(() => {
  const model = notebook.content.model.sharedModel;
  while (model.cells.length <= arg[0])
    model.insertCell(model.cells.length, {cell_type: 'code', source: '', metadata: {}});
  model.cells[arg[0]].setSource(arg[1]);
})()"""

_RUN_TO_END = """(() => {
  notebook.content.activeCellIndex = arg;
  notebook.content.deselectAll();
  notebook.content.mode = 'command';
  return window.jupyterapp.commands.execute('notebook:run-cell').then(() => true, () => true);
})()"""

# The command's promise ends with the cell, which may be waiting for input: so it is counted, not awaited.
_RUN = """(() => {
  window.jupyterapp.shell.activateById(notebook.id);
  notebook.content.activeCellIndex = arg[0];
  notebook.content.deselectAll();
  notebook.content.mode = 'command';
  window.testRuns = (window.testRuns ?? 0) + 1;
  const done = () => { window.testRuns -= 1; };
  window.jupyterapp.commands.execute(arg[1]).then(done, done);
})()"""
