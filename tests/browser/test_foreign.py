# ruff: noqa: E501 (payloads are one line each)
"""What a kernel that is not one's own can do to a real JupyterLab: show things, and nothing else (G17, T15).

All payloads are shown in one notebook, by a kernel behind a server that the user has added and not marked as one's own.
Each tries to reach the page's token, to lead the page elsewhere, or to ask the local server for something; all that it
asks for bears the mark CANARY.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

from kernel_bridge_magic.sanitize.html import sanitize
from tests.browser.lab import Lab, Page
from tests.support.servers import JupyterServer, wait_for

# Reads the token wherever it could be had, and tells it to whoever listens.
GRAB = (
    "(() => {const tell = (what) => {"
    "try { top.CANARY = what } catch {}"
    "try { fetch('/api/status?CANARY=' + what) } catch {}"
    "try { new Image().src = '/api/CANARY?' + what } catch {}"
    "try { navigator.sendBeacon('/api/CANARY', what) } catch {}"
    "try { document.title = 'CANARY'; top.document.title = 'CANARY' } catch {}"
    "}; tell('ran');"
    "for (const at of [() => window, () => parent, () => top, () => parent.parent]) try {"
    "const page = at().document.getElementById('jupyter-config-data');"
    "if (page) tell(JSON.parse(page.textContent).token) } catch {}"
    "try { tell('cookie' + document.cookie) } catch {}"
    "try { tell('storage' + localStorage.length) } catch {}"
    "try { top.location = '/lab/CANARY' } catch {}"
    "try { window.open('/api/CANARY') } catch {}})()"
)
ATTRIBUTE = GRAB.replace("'", "&quot;")  # inside of onerror='…'
HTML = {
    "script": f"<script>{GRAB}</script>",
    "module": f"<script type=module>{GRAB}</script>",
    "onerror": f"<img src=x onerror='{ATTRIBUTE}'>",
    "svg onload": f"<svg onload='{ATTRIBUTE}'></svg>",
    "details": f"<details open ontoggle='{ATTRIBUTE}'>x</details>",
    "autofocus": f"<input autofocus onfocus='{ATTRIBUTE}'>",
    "animation": f"<style>@keyframes a{{}}</style><b style='animation:a 1s' onanimationstart='{ATTRIBUTE}'>x</b>",
    "top link": f"<a href='javascript:{ATTRIBUTE}' target=_top>click</a>",
    "plain link": "<a href='/lab/CANARY' target=_top>click</a><a href='/api/CANARY' target=_parent>click</a>",
    "own link": "<a href='/api/CANARY'>click</a>",
    "new window": "<a href='/api/CANARY' target=_blank>click</a>",
    "form": "<form action='/api/CANARY' method=post target=_top><button>click</button></form>",
    "form that sends itself": "<form id=f action='/api/CANARY' method=post></form><script>f.submit()</script>",
    "meta refresh": "<meta http-equiv=refresh content='0;url=/api/CANARY'>",
    "frame leads itself away": "<script>location = '/api/CANARY'</script>",
    "frame leads its parent away": "<script>parent.location = '/api/CANARY'; top.location.replace('/CANARY')</script>",
    "command linker": "<button data-commandlinker-command='notebook:run-cell' data-commandlinker-args='{}'>click</button>"
    "<button data-commandlinker-command='apputils:CANARY'>click</button>",
    "command linker, made": "<script>document.body.innerHTML = \"<button data-commandlinker-command='filebrowser:delete'>"
    'click</button>"</script>',
    "nested iframe": "<iframe src='/api/CANARY'></iframe><iframe srcdoc=\"<script src='/api/CANARY'></script>\"></iframe>",
    "made iframe": "<script>const f = document.createElement('iframe'); f.src = '/api/CANARY'; document.body.append(f)"
    "</script>",
    "iframe with more rights": "<iframe sandbox='allow-same-origin allow-scripts allow-top-navigation' src='/lab?CANARY'>"
    "</iframe>",
    "end of the frame": f"\"></iframe><script>{GRAB}</script>",
    "end of the frame, encoded": f"&quot;&gt;&lt;/iframe&gt;&lt;script&gt;{GRAB}&lt;/script&gt;",
    "end of both frames": f"&quot;></iframe>\"'></iframe></iframe><img src=x onerror='{ATTRIBUTE}'>",
    "srcdoc": f"<iframe srcdoc='&lt;script&gt;{GRAB.replace(chr(39), '&quot;')}&lt;/script&gt;'></iframe>",
    "object": "<object data='/api/CANARY'></object><embed src='/api/CANARY'>",
    "picture of the server": "<img src='/api/CANARY'><img srcset='/api/CANARY 2x'><video poster='/api/CANARY'></video>",
    "style": "<style>@import '/api/CANARY'; body{background:url(/api/CANARY)}</style><link rel=stylesheet href='/api/CANARY'>",
    "base": "<base href='/api/CANARY/'><img src='x'><script src='y'></script>",
    "preload": "<link rel=preload as=image href='/api/CANARY'><link rel=prefetch href='/api/CANARY'>",
    "websocket": "<script>new WebSocket('ws://' + 'HOST' + '/api/CANARY'); new EventSource('/api/CANARY')</script>",
    "worker": "<script>new Worker(URL.createObjectURL(new Blob([\"fetch('http://HOST/api/CANARY')\"])))</script>",
    "eval": f"<script>eval({json.dumps(GRAB)}); import('data:text/javascript,' + {json.dumps(GRAB)})</script>",
    "require": "<script>top.require && top.require(['base/js/namespace'], (J) => J.notebook.kernel.execute('CANARY'))</script>",
    "message": "<script>top.postMessage({type: 'CANARY', token: 1}, '*')</script>",
    "mathml": f"<math><maction actiontype='statusline#http://x' xlink:href='javascript:{ATTRIBUTE}'>click</maction></math>",
    "noscript": f"<noscript><p title=\"</noscript><img src=x onerror='{ATTRIBUTE}'>\"></noscript>",
    "mutation": f"<svg></p><style><a id=\"</style><img src=1 onerror='{ATTRIBUTE}'>\">",
    "table that mutates": f"<table><b><style><!--</style><img src=x onerror='{ATTRIBUTE}'>--></table>",
    "config of our own": "<script id=jupyter-config-data type=application/json>{\"baseUrl\": \"//CANARY\"}</script>",
}  # fmt: skip
OTHERS: dict[str, dict[str, Any]] = {
    "javascript": {"application/javascript": GRAB, "text/plain": "js"},
    "svg": {"image/svg+xml": f"<svg xmlns='http://www.w3.org/2000/svg' onload='{ATTRIBUTE}'><script>{GRAB}</script></svg>"},
    "markdown": {"text/markdown": f"# x\n<img src=x onerror='{ATTRIBUTE}'>\n[click](javascript:{GRAB[:40]})"},
    "markdown link": {"text/markdown": "[click](/api/CANARY) ![x](/api/CANARY)"},
    "latex link": {"text/latex": r"$\href{javascript:top.CANARY=1}{click}$"},
    "latex html": {"text/latex": f"<img src=x onerror='{ATTRIBUTE}'>"},
    "latex class": {"text/latex": r"$\class{jp-Dialog}{x} \cssId{jupyter-config-data}{y} \style{position:fixed}{z}$"},
    "latex macros": {"text/latex": r"$\def\a{\hr}\def\x#1{\csname hre#1\endcsname}\x{f}{javascript:top.CANARY=2}{click}$"},
    "widget": {"application/vnd.jupyter.widget-view+json": {"model_id": "x", "version_major": 2}, "text/plain": "w"},
    "vega": {"application/vnd.vegalite.v5+json": {"data": {"url": "/api/CANARY"}, "mark": "bar", "encoding": {}}},
    "vega 4": {"application/vnd.vega.v5+json": {"data": [{"name": "x", "url": "/api/CANARY"}], "marks": []}},
    "plotly": {"application/vnd.plotly.v1+json": {"data": [{"x": [1]}], "layout": {"title": f"<a href='javascript:{GRAB[:9]}'>x"}}},
    "pdf": {"application/pdf": "JVBERi0xLjcK"},
    "geojson": {"application/geo+json": {"type": "FeatureCollection", "features": []}},
    "mermaid": {"text/vnd.mermaid": "graph TD; a-->b; click a href \"/api/CANARY\""},
    "json": {"application/json": {"a": f"<img src=x onerror='{ATTRIBUTE}'>", "__proto__": {"x": 1}}},
    "plain": {"text/plain": f"<img src=x onerror='{ATTRIBUTE}'> \x1b]8;;/api/CANARY\x07click\x1b]8;;\x07"},
    "other case": {"TEXT/HTML": f"<script>{GRAB}</script>", "text/html ": f"<script>{GRAB}</script>"},
    "html beside png": {"image/png": "iVBORw0KGgo=", "text/html": f"<script>{GRAB}</script>"},
    "png that is none": {"image/png": f"x' onerror='{ATTRIBUTE}", "text/plain": "p"},
}  # fmt: skip
PAYLOADS = {name: {"text/html": html, "text/plain": f"payload {name}"} for name, html in HTML.items()} | OTHERS

SEND = """%%remote -q far.ipynb
import json
from IPython import get_ipython
for data in json.loads({payloads!r}):
    get_ipython().display_pub.publish(data, metadata={{mime: {{"isolated": True}} for mime in data}})
"""
MORE = """%%remote -q --no-raise-error far.ipynb
import sys
print({payload!r}); print({payload!r}, file=sys.stderr)
class Evil:
    def _repr_html_(self): return {payload!r}
    def __repr__(self): return {payload!r}
display(Evil(), display_id="d")
display(Evil(), display_id="d", update=True)
raise ValueError({payload!r})
"""
RESULT = """%%remote -q far.ipynb
Evil()
"""
BOUND = """x = %remote -q far.ipynb Evil()
x
"""
PYTHON = """from kernel_bridge_magic import connect
import kernel_bridge_magic.api as api
bridge = get_ipython()._kernel_bridge_magics.bridge
with bridge.pool.open(bridge.find("far.ipynb")) as kernel:
    value = kernel.execute("Evil()").value
value
"""


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    with JupyterServer(tmp_path_factory.mktemp("far")) as server:
        server.start_kernel(path="far.ipynb")
        yield server


def add(far: JupyterServer, directory: Path) -> str:
    token = directory / "token"
    token.write_text(far.token)
    token.chmod(0o600)
    return f"%load_ext kernel_bridge_magic\n%servers --add {far.url} --name far --token file:{token}"


CLICK = """choices => {
  const items = [...document.querySelectorAll(choices)];
  for (const item of items)
    item.dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true, composed: true}));
  return items.length;
}"""


class Watch:
    """What a window did that it must not do."""

    def __init__(self, lab: Lab, page: Page) -> None:
        self.lab, self.page = lab, page
        self.url = page.do(lambda window: window.url)
        self.away: list[str] = []
        self.asked: dict[Any, str] = {}
        self.log_size = (lab.directory / "server.log").stat().st_size
        page.do(lambda window: window.on("request", self._requested))
        page.do(lambda window: window.on("requestfailed", self._failed))
        page.do(lambda window: window.on("framenavigated", self._navigated))
        page.do(lambda window: window.on("popup", lambda popup: self.away.append("popup")))

    def _requested(self, request: Any) -> None:
        # JupyterLab looks up by itself whether words of a text are files.
        if "CANARY" in request.url and "/api/resolvePath?" not in request.url:
            self.asked[request] = f"{request.resource_type} {request.url}"

    def _failed(self, request: Any) -> None:
        # What the policy forbids is told of, too, though it never left the browser.
        if request.failure == "csp":
            self.asked.pop(request, None)
        elif request in self.asked:
            self.asked[request] += f" {request.failure}"

    def _navigated(self, frame: Any) -> None:
        if frame.url not in ("", "about:srcdoc", "about:blank") and not frame.url.startswith("chrome-error:"):
            self.away.append(frame.url)

    def click_everything(self) -> int:
        """Click whatever could be clicked in all outputs and frames; give how many there were."""

        def click(window: Any) -> int:
            number = 0
            # A frame that was kept from leading itself away has nothing to click, and never answers.
            for frame in [window.main_frame, *(frame for frame in window.frames if frame.url == "about:srcdoc")]:
                # JupyterLab makes links of what looks like a file's name in a text.
                where = ".jp-OutputArea-output :not(pre) > " if frame == window.main_frame else ""
                choices = ("a", "button", "input", "maction", "summary", "[data-commandlinker-command]", "[href]")
                with contextlib.suppress(Exception):
                    number += frame.evaluate(CLICK, ", ".join(where + choice for choice in choices))
            return number

        return self.page.do(click)

    def check(self) -> None:
        self.page.do(lambda window: window.wait_for_timeout(700))  # for what would come late
        assert list(self.asked.values()) == []
        assert self.away == []
        assert self.page.do(lambda window: window.url) == self.url
        assert self.page.js("[window.CANARY, document.title.includes('CANARY')]") == [None, False]
        log = (self.lab.directory / "server.log").read_bytes()[self.log_size :]
        assert b"CANARY" not in log


@pytest.mark.timeout(240)
def test_no_payload_reaches_the_page(lab: Lab, far: JupyterServer, tmp_path: Path) -> None:
    assert len(PAYLOADS) >= 25
    host = f"127.0.0.1:{lab.port}"
    payloads = json.loads(json.dumps(list(PAYLOADS.values())).replace("HOST", host))
    script = f"<script>{GRAB}</script><img src=x onerror='{ATTRIBUTE}'>"
    half = len(payloads) // 2  # JupyterLab draws no more than 50 outputs of a cell
    cells = [
        add(far, tmp_path),
        SEND.format(payloads=json.dumps(payloads[:half])),
        SEND.format(payloads=json.dumps(payloads[half:])),
        MORE.format(payload=script),
        RESULT,
        BOUND,
        PYTHON,
    ]
    lab.write("foreign.ipynb", cells)
    page = lab.open("foreign.ipynb")
    watch = Watch(lab, page)
    page.run_all()
    outputs = page.outputs(1) + page.outputs(2)
    ours = [output for output in outputs if "kernel_bridge" in output["metadata"]]
    assert [output["metadata"]["kernel_bridge"] for output in ours] == [{"line": "widgets"}]
    shown = [output for output in outputs if output not in ours]
    assert [output["output_type"] for output in shown] == ["display_data"] * len(PAYLOADS), shown[-1]
    for name, output in zip(PAYLOADS, shown, strict=True):
        data = output["data"]
        assert set(data) <= {"text/plain", "text/html", "text/latex", "application/json", "image/png"}, name
        if name in HTML and data["text/html"].startswith("<iframe"):
            assert data["text/plain"] == f"payload {name}"
    framed = sum(str(output["data"].get("text/html", "")).startswith("<iframe sandbox=") for output in shown)
    assert framed >= len(HTML) - 2
    page.wait_for("document.querySelectorAll('.jp-OutputArea-output iframe').length >= arg", framed)
    for place in (4, 5, 6):
        (output,) = page.outputs(place)
        assert output["data"]["text/html"].startswith("<iframe sandbox="), place
    wait_for(lambda: watch.click_everything() > 10, "what can be clicked")  # frames load in their own time
    watch.check()
    # What was sandboxed is alive: its own scripts run, with an origin of their own.
    alive = page.do(
        lambda window: [frame.evaluate("self.origin") for frame in window.frames if frame.url == "about:srcdoc"]
    )
    assert len(alive) >= framed and set(alive) == {"null"}

    # Saved, and opened again.
    saved = page.save()
    text = json.dumps(saved["cells"][1:3])
    assert "iframe" in text
    page.close()
    page = lab.open("foreign.ipynb")
    watch = Watch(lab, page)
    drawn = "[1, 2].map(n => cells[n].outputArea.node.querySelectorAll('.jp-OutputArea-child').length)"
    page.wait_for(f"{drawn}.reduce((a, b) => a + b) >= arg", len(PAYLOADS))
    watch.click_everything()
    watch.check()
    page.js("(window.jupyterapp.commands.execute('notebook:trust'), true)")  # it asks, and is not awaited
    with contextlib.suppress(Exception):
        page.do(lambda window: window.locator(".jp-Dialog .jp-mod-accept").click(timeout=3000))
    watch.click_everything()
    watch.check()


@pytest.fixture(scope="module")
def page(lab: Lab) -> Iterator[Page]:
    """A window for the notebooks of what does no harm: loading one takes longer than all that is done in it."""
    page = lab.window(keep=True)
    yield page
    page.close()


def test_the_same_from_here_would_reach_it(lab: Lab, page: Page) -> None:
    """The payloads are real ones: shown by this very kernel they act."""
    lab.write("near.ipynb", ["from IPython.display import HTML, display"])
    page.open("near.ipynb")
    page.run_all()
    acting = "<img src=x onerror='window.CANARY = JSON.parse(document.getElementById(\"jupyter-config-data\").textContent).token'>"
    page.run_cell(1, f"HTML({acting!r})")
    page.wait_for("window.CANARY === arg", lab.token)


OFFER = """<script>
const connection = new RTCPeerConnection({iceServers: [{urls: "stun:127.0.0.1:PORT"}]});
connection.createDataChannel("x");
connection.createOffer().then(offer => connection.setLocalDescription(offer));
</script>"""
STUN = b"\x00\x01\x00\x00\x21\x12\xa4\x42"  # a binding request with its magic cookie, RFC 8489
UNKNOWN = "Unrecognized Content-Security-Policy directive 'webrtc'"


@pytest.mark.parametrize("policy", ["", "; webrtc 'block'"])
def test_a_sandbox_can_send_a_webrtc_packet_and_no_policy_forbids_it(lab: Lab, policy: str) -> None:
    """A fact of the browser, which THREATS.md tells of. Where this fails, the policy can close it: add it there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.setblocking(False)
        shown = sanitize({"text/html": OFFER.replace("PORT", str(stranger.getsockname()[1]))})["text/html"]
        assert shown.startswith('<iframe sandbox="allow-scripts" ') and "connect-src 'none'" in unescape(shown)
        shown = shown.replace("base-uri &#x27;none&#x27;", "base-uri &#x27;none&#x27;" + escape(policy))
        assert shown.count("webrtc") == bool(policy)

        def packet() -> tuple[bytes, list[str]]:
            said: list[str] = []
            made = lab.browser.new_page()
            try:
                made.on("console", lambda message: said.append(message.text))
                made.set_content(shown)
                end = time.monotonic() + 20
                while time.monotonic() < end:
                    with contextlib.suppress(BlockingIOError):
                        return stranger.recv(2000), said
                    made.wait_for_timeout(20)
                return b"", said
            finally:
                made.close()

        lab.window()  # starts the browser
        got, said = lab.call(packet)
    assert got.startswith(STUN)
    # The data channel itself needs an answer; the packet's address and the name of the server can tell something.
    assert any(UNKNOWN in text for text in said) == bool(policy), said


def test_tables_and_plots_are_shown(lab: Lab, page: Page, far: JupyterServer, tmp_path: Path) -> None:
    """What is harmless looks as it should: a table in the page, a picture, and a drawing script in its frame."""
    table = "%%remote -q far.ipynb\nimport pandas as pd\npd.DataFrame({'city': ['Oslo', 'Lima'], 'rain': [763, 16]})"
    drawn = "<div id=d></div><script>d.textContent = 'drawn ' + (6 * 7)</script>"
    script = f"%%remote -q far.ipynb\nfrom IPython.display import HTML\nHTML({drawn!r})"
    picture = "%%remote -q far.ipynb\nimport matplotlib.pyplot as plt\nplt.figure(figsize=(2, 1)); plt.plot([1, 3, 2]);"
    formula = "%%remote -q far.ipynb\nfrom IPython.display import Math\nMath(r'\\frac{1}{2}')"
    lab.write("harmless.ipynb", [add(far, tmp_path), table, script, picture, formula])
    page.open("harmless.ipynb")
    page.run_all()
    page.wait_for("cells[1].outputArea.node.querySelectorAll('.jp-RenderedHTMLCommon table tbody tr').length === 2")
    assert "iframe" not in page.outputs(1)[0]["data"]["text/html"]
    page.wait_for("cells[3].outputArea.node.querySelector('.jp-RenderedImage img')?.naturalWidth > 0")
    page.wait_for("cells[4].outputArea.node.querySelector('mjx-container, .MathJax')")
    assert re.search("height:400px", page.outputs(2)[0]["data"]["text/html"])
    assert page.js("cells[2].outputArea.node.querySelector('iframe').clientHeight") == 400

    def inside(window: Any) -> bool:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if any("drawn 42" in frame.evaluate("document.body.innerText") for frame in window.frames):
                return True
            window.wait_for_timeout(50)
        return False

    assert page.do(inside)
    # What a failure would leave.
    page.screenshot(tmp_path / "window.png")
    page.screenshot(tmp_path / "cell.png", 1)
    assert (tmp_path / "window.png").stat().st_size > (tmp_path / "cell.png").stat().st_size > 100
