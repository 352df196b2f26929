from __future__ import annotations

import re
import sys
import time
from html import escape, unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.protocol.events import Error
from kernel_bridge_magic.sanitize.html import sanitize, sanitize_error, sanitize_metadata

CANARY = "alert('canary')"
STATIC = ["text/plain", "text/latex", "application/json", "image/png", "image/jpeg", "image/gif", "image/webp"]
FRAMED = ["text/html", "image/svg+xml"]
DROPPED = [
    "application/javascript",
    "text/javascript",
    "application/vnd.jupyter.widget-view+json",
    "application/vnd.plotly.v1+json",
    "application/vnd.vegalite.v5+json",
    "application/vnd.bokehjs_exec.v0+json",
    "application/pdf",
    "application/geo+json",
    "text/vnd.mermaid",
    "image/bmp",
    "audio/mpeg",
    "TEXT/HTML",
    " text/html",
    "text/html; charset=utf-8",
    "",
]
PAYLOADS = [
    f"<script>{CANARY}</script>",
    f"<img src=x onerror={CANARY}>",
    f'"><script>{CANARY}</script>',
    f"'><script>{CANARY}</script>",
    f"</iframe><script>{CANARY}</script>",
    f'" onload="{CANARY}',
    f'" srcdoc="<script>{CANARY}</script>',
    '" sandbox="allow-scripts allow-same-origin allow-top-navigation',
    f"&quot;><script>{CANARY}</script>",
    f"<svg onload={CANARY}>",
    '<a href="javascript:x" target=_top>',
    "<meta http-equiv=refresh content=0;url=//evil>",
    "<button data-commandlinker-command=x>",
    "--><script>",
    "\0<script>",
]


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), "an attribute twice: the first one counts"
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def framed(html: str) -> str:
    """The page in the sandbox; fails if the HTML is anything but a sandboxed frame with a policy and a frame in it."""
    tags = Tags(html)
    ((tag, attributes),) = tags.found
    assert tag == "iframe"
    assert tags.text == ""
    assert attributes["sandbox"] == "allow-scripts", "its own origin, no forms, no top navigation"
    assert set(attributes) == {"sandbox", "srcdoc", "style"}
    outer = attributes["srcdoc"]
    assert outer is not None
    inside = Tags(outer)
    (meta, policy), (style, _), (tag, attributes) = inside.found
    assert (meta, policy["http-equiv"], style, tag) == ("meta", "Content-Security-Policy", "style", "iframe")
    rules = dict(rule.strip().split(" ", 1) for rule in (policy["content"] or "").split(";"))
    for rule in ("default-src", "connect-src", "frame-src", "form-action", "base-uri"):
        assert rules[rule] == "'none'"
    assert rules["img-src"] == "data: blob:"
    assert "http:" not in rules["script-src"] and "'self'" not in rules["script-src"]
    assert set(attributes) == {"sandbox", "srcdoc"}
    assert attributes["sandbox"] == "allow-scripts"
    page = attributes["srcdoc"]
    assert page is not None
    return page


def height(html: str) -> int:
    found = re.search(r"height:(\d+)px", html)
    assert found is not None
    return int(found[1])


@pytest.fixture(params=["nh3", "no nh3"])
def cleaner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With the sanitizer and without it."""
    if request.param == "no nh3":
        monkeypatch.setitem(sys.modules, "nh3", None)
    return bool(request.param == "nh3")


@pytest.fixture
def no_cleaner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nh3", None)


@pytest.mark.parametrize("mime", STATIC)
def test_what_only_shows_is_shown_as_it_is(mime: str) -> None:
    data = {"text/plain": "text", mime: "x"}
    assert sanitize(data) == data


def test_nothing_stays_nothing() -> None:
    assert sanitize({}) == {}


@pytest.mark.usefixtures("no_cleaner")
@pytest.mark.parametrize("mime", FRAMED)
@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_acts_goes_into_a_sandbox_and_the_text_stays(mime: str, payload: str) -> None:
    sanitized = sanitize({"text/plain": "text", mime: payload})
    assert set(sanitized) == {"text/plain", "text/html"}
    assert sanitized["text/plain"] == "text"
    assert framed(sanitized["text/html"]).replace("\ufffd", "\0") == unescaped_once(payload)


def unescaped_once(payload: str) -> str:
    # What the frame gets is the payload itself: its own entities are its own affair.
    return payload


@given(payload=st.text() | st.text(alphabet="<>\"'&;=/ \n\0scriptfame"))
def test_no_text_leaves_its_sandbox(payload: str) -> None:
    html = sanitize({"image/svg+xml": payload})["text/html"]
    found = re.fullmatch(r'<iframe sandbox="allow-scripts" srcdoc="([^"<>]*)" style="[^"<>]*"></iframe>', html)
    assert found is not None
    inner = re.fullmatch(r'.*<iframe sandbox="allow-scripts" srcdoc="([^"<>]*)"></iframe>', unescape(found[1]), re.S)
    assert inner is not None
    assert unescape(inner[1]) == unescape(escape(payload))
    framed(html)


PICTURE = "data:image/png;base64,iVBORw0KGgo="
HARMLESS = {
    "<b>x</b> a &lt; b <br/> <p>one<p>two": "<b>x</b> a &lt; b <br> <p>one</p><p>two</p>",
    f'<img src="{PICTURE}" width="3" alt="x">': f'<img src="{PICTURE}" width="3" alt="x">',
    "<b style='position:fixed;color:red'>x</b>": '<b style="color:red">x</b>',
    "<b>x</b><!-- a remark -->": "<b>x</b>",
    "日本語 <i>é</i>": "日本語 <i>é</i>",
}
HARMFUL = [
    *(payload for payload in PAYLOADS if "<" in payload),  # the others are words, in a page of their own
    "<a href=http://evil.example>x</a>",
    "<img src=/api/contents>",
    "<img src=//evil.example/x.png>",
    "<img src='data:image/svg+xml;base64,PHN2Zy8+'>",
    "<img src='data:text/html,x'>",
    "<b onclick=x>y</b>",
    "<b id=jupyter-config-data>y</b>",
    "<table class=jp-Dialog></table>",
    "<b data-commandlinker-command=x>y</b>",
    "<style>body{display:none}</style>x",
    "<style scoped>.dataframe td {color: red} body {display: none}</style>x",
    "<style scoped>.dataframe td {background: url(//evil.example)}</style>x",
    "<form action=/api/kernels><button>x</button></form>",
    "<iframe srcdoc='x'></iframe>",
    "<object data=x></object>",
    "<embed src=x>",
    "<base href=//evil.example>",
    "<link rel=stylesheet href=x>",
    "<video src=x></video>",
    "<math><mi xlink:href='javascript:x'>x</mi></math>",
    "<noscript><p title='</noscript><img src=x onerror=1>'>",
    "<svg><style><img src=x onerror=1></style></svg>",
    "<template><script>x</script></template>",
    "<x-custom>y</x-custom>",
    "<input>",
    "<![>",
    "<!x[>",
    "<" * 50_000,
    "<b>" * 40_000,
]


@pytest.mark.parametrize("html", HARMLESS)
def test_what_only_shows_is_shown_as_it_is_where_it_can_be_cleaned(html: str, cleaner: bool) -> None:
    shown = sanitize({"text/html": html})["text/html"]
    assert shown == HARMLESS[html] if cleaner else framed(shown) == html


def test_a_table_of_pandas_is_shown_as_a_table() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"city": ["Oslo", "<script>x</script>"], "rain": [763, 16]})
    shown = sanitize({"text/html": frame._repr_html_(), "text/plain": str(frame)})
    assert shown["text/html"].count("<tr") == 3
    assert '<table border="1" class="dataframe">' in shown["text/html"]
    assert "iframe" not in shown["text/html"] and "<script" not in shown["text/html"]
    assert "<style" not in shown["text/html"]


@pytest.mark.parametrize("html", HARMFUL, ids=lambda html: html[:40])
def test_what_could_act_is_never_shown_as_it_is(html: str) -> None:
    began = time.process_time()
    framed(sanitize({"text/html": html})["text/html"])
    assert time.process_time() - began < 2


PARTS = "< > </ b script img src = \" ' x onerror &lt; & ; <!-- --> svg style a href javascript: <table> </table> / <!["


@given(st.lists(st.sampled_from([*PARTS.split(), " ", "\0"]), max_size=25))
def test_nothing_that_acts_is_left_in_what_is_shown_as_it_is(parts: list[str]) -> None:
    html = sanitize({"text/html": "".join(parts)})["text/html"]
    if html.startswith("<iframe"):
        framed(html)
        return
    for tag, attributes in Tags(html).found:
        assert tag in ("b", "img", "table", "tbody", "tr", "td", "s", "i", "u", "p", "q")
        assert set(attributes) <= {"src", "style", "alt"}
        assert "src" not in attributes or (attributes["src"] or "").startswith("data:image/")


def test_a_frame_is_as_high_as_what_it_seems_to_hold() -> None:
    def high(html: str) -> int:
        return height(sanitize({"image/svg+xml": html})["text/html"])

    assert high("<b>x</b>") == 60
    assert high("<svg height='300' width='10'>") == 340
    assert high("<div style='height: 500px;'>") == 540
    assert high("<script>plot()</script>") == 400
    assert 200 < high("<tr>" * 10) < 400
    assert high("<tr>" * 1000) == high("<svg height='99999'>") == 600


@pytest.mark.parametrize(
    "unit", ["<a", "<!--", "height=", "height= ", "<style scoped>.dataframe ", "<tr>", "<b a=b", "<p>"]
)
def test_long_pages_take_no_time(unit: str) -> None:
    began = time.process_time()
    sanitize({"text/html": (unit * 100_000)[:99_000] + ">" * 60_000})
    sanitize({"text/html": unit + " " * 90_000})
    sanitize({"text/html": unit * 500_000})
    assert time.process_time() - began < 3


@pytest.mark.parametrize("latex", ["$\\frac{1}{2}$", "$$\\int_0^1 x\\,dx$$", "\\begin{aligned}a &= b\\end{aligned}"])
def test_formulas_are_drawn(latex: str) -> None:
    assert sanitize({"text/latex": latex, "text/plain": "f"}) == {"text/latex": latex, "text/plain": "f"}


@pytest.mark.parametrize(
    "latex",
    ["$\\href{javascript:x}{y}$", "$\\url{x}$", "\\HREF{x}", "\\class{jp-x}{y}", "\\cssId{x}{y}", "\\style{x}{y}",
     "\\unicode{x}", "\\require{html}", "<img src=x onerror=1>", "\\htmlData{x}{y}", "\\let\\x\\href1", "\\hrefé",
     "\\url_", "\\bbox[position:fixed]{x}"],
)  # fmt: skip
def test_formulas_that_could_act_are_text(latex: str) -> None:
    assert sanitize({"text/latex": latex}) == {"text/plain": latex}
    assert sanitize({"text/latex": latex, "text/plain": "f"}) == {"text/plain": "f"}


@pytest.mark.parametrize("latex", ["$x^2 &lt; \\frac{1}{2}$", "$\\hrefs \\urls \\dataset$", "href, url and class"])
def test_formulas_in_a_page_are_drawn(latex: str) -> None:
    pytest.importorskip("nh3")
    assert sanitize({"text/html": f"<p>{latex}</p>"}) == {"text/html": f"<p>{latex}</p>"}


@pytest.mark.parametrize(
    "html",
    [
        "$\\href{javascript:alert(1)}{x}$",
        "<p>\\(\\style{position:fixed}{x}\\)</p>",
        "<table><tr><td>$\\class{jp-x}{y}$</td></tr></table>",
        "$&#92;href{javascript:x}{y}$",
        "$&bsol;href{javascript:x}{y}$",
        "$\\hr<wbr>ef{javascript:x}{y}$",
        "$\\href<br>{javascript:x}{y}$",
        "$\\href<wbr>{javascript:x}{y}$",
        "$\\let\\x\\href1$",
        "$\\bbox[position:fixed]{x}$",
        "$\\require{html}$",
    ],
)
def test_formulas_in_a_page_that_could_act_go_into_a_sandbox(html: str) -> None:
    assert framed(sanitize({"text/html": html})["text/html"]) == html


def test_of_metadata_the_size_of_pictures_is_kept() -> None:
    metadata = {
        "image/png": {"width": 10, "height": 2.5, "unconfined": True, "evil": {}},
        "text/html": {"isolated": True},
        "image/jpeg": {"width": "<b>"},
        "isolated": True,
        "trusted": True,
    }
    assert sanitize_metadata(metadata) == {"image/png": {"width": 10, "height": 2.5}, "image/jpeg": {}}


@pytest.mark.parametrize("mime", DROPPED)
def test_what_cannot_be_framed_is_dropped_and_the_text_stays(mime: str) -> None:
    assert sanitize({"text/plain": "text", mime: CANARY}) == {"text/plain": "text"}


@pytest.mark.parametrize("mime", DROPPED)
def test_what_is_dropped_with_no_text_is_named(mime: str) -> None:
    sanitized = sanitize({mime: CANARY})
    assert set(sanitized) == {"text/plain"}
    assert CANARY not in sanitized["text/plain"]
    assert mime in sanitized["text/plain"]
    assert "not shown" in sanitized["text/plain"]


def test_markdown_becomes_text() -> None:
    markdown = f"# Title\n<img src=x onerror={CANARY}>"
    assert sanitize({"text/markdown": markdown}) == {"text/plain": markdown}
    assert sanitize({"text/markdown": [markdown, "\nmore"]}) == {"text/plain": f"{markdown}\nmore"}
    assert sanitize({"text/markdown": markdown, "text/plain": "text"}) == {"text/plain": "text"}
    latex = "$\\href{javascript:x}{y}$"
    assert sanitize({"text/markdown": latex}) == {"text/plain": latex}


@pytest.mark.usefixtures("no_cleaner")
def test_html_is_preferred_to_svg_and_pictures_stay_beside() -> None:
    data = {"image/svg+xml": "<svg/>", "text/html": "<b>x</b>", "image/png": "iVBO", "text/plain": "t"}
    sanitized = sanitize(data)
    assert framed(sanitized["text/html"]) == "<b>x</b>"
    assert (sanitized["image/png"], sanitized["text/plain"]) == ("iVBO", "t")
    assert "image/svg+xml" not in sanitized


@pytest.mark.usefixtures("no_cleaner")
def test_lines_are_joined() -> None:
    assert framed(sanitize({"text/html": ["<b>", "x", "</b>"]})["text/html"]) == "<b>x</b>"


@given(
    data=st.dictionaries(
        st.sampled_from([*STATIC, *FRAMED, *DROPPED, "text/markdown"]) | st.text(max_size=20),
        st.none() | st.integers() | st.text(max_size=20) | st.lists(st.text(max_size=5), max_size=3) | st.just({}),
        max_size=5,
    )
)
def test_no_bundle_gets_through_with_anything_that_acts(data: dict[str, Any]) -> None:
    sanitized = sanitize(data)
    assert set(sanitized) <= {*STATIC, "text/html"}
    if "<" in sanitized.get("text/html", ""):
        framed(sanitized["text/html"])
    assert bool(sanitized) == bool(data)


def test_the_bundle_that_came_is_not_changed() -> None:
    data = {"text/html": "<b>x</b>", "text/markdown": "x"}
    sanitize(data)
    assert data == {"text/html": "<b>x</b>", "text/markdown": "x"}


def test_an_error_keeps_its_colours_and_steers_nothing() -> None:
    error = Error("E\x1b[2J\n", "v\x07\nmore", ("\x1b[31mE\x1b[0m", "\x1b]0;x\x07"))
    assert sanitize_error(error) == Error("E\\x1b[2J\\n", "v^G\nmore", ("\x1b[31mE\x1b[0m", "^[]0;x^G"))
