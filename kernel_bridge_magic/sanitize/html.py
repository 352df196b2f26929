"""Make output of kernels that are not yours safe to show: what could act goes into a sandbox (T15). Pure.

HTML, JavaScript and Markdown that a front end renders run with the rights of the local notebook and can read its
server's token. Inside `<iframe sandbox="allow-scripts">`, which has an origin of its own, they cannot. HTML in which
`nh3`, if installed, finds nothing to remove (tables, text, embedded pictures) is shown as it is.
"""

from __future__ import annotations

import re
from html import escape
from html.parser import HTMLParser
from typing import Any

from kernel_bridge_magic.errors import RemoteError, remote_error
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import Error
from kernel_bridge_magic.sanitize.terminal import spell_out
from kernel_bridge_magic.text import visible

#: What only shows. JSON is drawn by the front end from data, and pictures are pictures.
_STATIC = frozenset({"text/plain", "application/json", "image/png", "image/jpeg", "image/gif", "image/webp"})
_LATEX = "text/latex"
_SURROGATES = re.compile("[\ud800-\udfff]")
_FRAMED = ("text/html", "image/svg+xml")  # the best first; the rest (javascript, vnd.*) has no meaning alone

# MathJax makes links and page elements of these, which act in the page. A name ends at what is no letter of ASCII:
# `\href1` is `\href` and a 1. What it finds in the text of a page it draws, too, whoever wrote the page.
_ACTIVE_LATEX = re.compile(
    r"\\(?:(?:href|url|class|cssId|style|bbox|data|unicode|require|csname|mmlToken)(?![a-z])|html)", re.I | re.A
)

# Libraries that notebooks load their plots' scripts from. All else is forbidden, the local server above all: what is
# in the sandbox has no cookies there, and is not even to ask.
_SCRIPTS = (
    "https://cdn.plot.ly https://cdn.jsdelivr.net https://cdnjs.cloudflare.com https://unpkg.com "
    "https://cdn.bokeh.org https://cdn.holoviz.org https://d3js.org"
)
_POLICY = (
    f"default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob: {_SCRIPTS}; "
    f"style-src 'unsafe-inline' {_SCRIPTS}; font-src data: {_SCRIPTS}; img-src data: blob:; media-src data: blob:; "
    "frame-src 'none'; connect-src 'none'; form-action 'none'; base-uri 'none'"
)


def sanitize(data: dict[str, Any]) -> dict[str, Any]:
    """Return a MIME bundle that is safe to show in place of a foreign kernel's; its text stays beside it."""
    static = {mime: value for mime, value in data.items() if mime in _STATIC}
    if "text/plain" in static:
        static["text/plain"] = spell_out(_joined(static["text/plain"]))
    latex = _joined(data.get(_LATEX, ""))
    if _LATEX in data and "<" not in latex and not _ACTIVE_LATEX.search(latex):
        static[_LATEX] = latex
    if len(static) == len(data):
        return static
    source = next((_joined(data[mime]) for mime in _FRAMED if mime in data), None)
    if "text/markdown" in data or _LATEX in data:
        # They may hold HTML and links; as text they are readable and do nothing.
        static.setdefault("text/plain", spell_out(_joined(data.get("text/markdown", latex))))
    if source is not None:
        static["text/html"] = _cleaned(source) if "text/html" in data else None
        static["text/html"] = static["text/html"] or _framed(source)
    elif not static:
        static["text/plain"] = f"<{visible(next(iter(data)))}, not shown: the kernel is not one's own>"
    return static


def sanitize_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata of a bundle with the sizes of pictures only; front ends obey other words, too: `isolated`."""
    kept: dict[str, Any] = {}
    for mime, fields in metadata.items():
        if mime in _STATIC and isinstance(fields, dict):
            kept[mime] = {
                name: value
                for name, value in fields.items()
                if name in ("width", "height") and isinstance(value, int | float)
            }
    return kept


def sanitize_error(error: Error) -> Error:
    """Return an error that is safe to print: its colours are kept, its name is one line."""
    return Error(visible(error.ename), spell_out(error.evalue), tuple(map(spell_out, error.traceback)))


def raisable(error: Error, kernel: Kernel) -> RemoteError:
    """Build the exception that is raised here for an error of the kernel's."""
    told = error if kernel.is_yours else sanitize_error(error)
    return remote_error(told.ename, told.evalue, told.traceback, kernel.title)


def _joined(value: Any) -> str:
    text = "".join(map(str, value)) if isinstance(value, list) else str(value)
    return _SURROGATES.sub("\ufffd", text)  # half of a pair can be handed to nobody


# -- in a sandbox


def _framed(source: str) -> str:
    """Put a page into a frame within a frame.

    A sandboxed frame may navigate elsewhere, also to the local server, unless the frame around it forbids that. The
    outer frame has nothing of the page in it, and its policy holds for both.
    """
    inner = f'<iframe sandbox="allow-scripts" srcdoc="{escape(source, quote=True)}"></iframe>'
    style = "html,body,iframe{margin:0;border:0;width:100%;height:100%;display:block}"
    outer = (
        f'<!doctype html><meta http-equiv="Content-Security-Policy" content="{_POLICY}"><style>{style}</style>{inner}'
    )
    return (
        f'<iframe sandbox="allow-scripts" srcdoc="{escape(outer, quote=True)}" '
        f'style="width:100%;height:{_height(source)}px;border:0;background:white;resize:vertical"></iframe>'
    )


_LOWEST, _HIGHEST, _USUAL = 60, 600, 400  # pixels
_LINE = 24
_ENDS_LINE = re.compile(r"<(?:tr|p|li|br|hr|div|h[1-6]|pre|dt|dd|summary)\b", re.IGNORECASE)
# Every repeat has an end: a page must not cost minutes.
_GIVEN_HEIGHT = re.compile(
    r"""\bheight\s{0,3}[=:]\s{0,3}["']?\s{0,3}([0-9]{1,5})(?:\.[0-9]{1,9})?(?:px|pt)?["';>\s]""", re.I
)


def _height(source: str) -> int:
    """Guess how high a page is, in pixels: a sandboxed frame cannot tell, and nobody outside may look in.

    The largest height that the page names counts, else its lines. The user can make the frame larger by its corner.
    """
    head = source[:200_000]
    given = max((int(found) for found in _GIVEN_HEIGHT.findall(head)), default=0)
    lines = len(_ENDS_LINE.findall(head))
    wanted = max(given + 40 if given else 0, _LINE * (lines + 1))
    if not given and "<script" in head.lower():
        wanted = max(wanted, _USUAL)  # it draws something
    return min(max(wanted, _LOWEST), _HIGHEST)


# -- shown as it is


_TEXT_TAGS = set(
    "abbr b bdi bdo blockquote br caption cite code col colgroup dd del dfn div dl dt em figcaption figure "  # noqa: SIM905
    "h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark ol p pre q rp rt ruby s samp small span strong sub sup table tbody "
    "td tfoot th thead tr u ul var wbr".split()
)
_ATTRIBUTES = {
    "*": {"align", "dir", "lang", "style", "title", "valign"},
    "img": {"alt", "height", "src", "width"},
    "ol": {"start"},
    "table": {"border"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
}
_STYLES = {"text-align", "vertical-align", "color", "background-color", "font-weight", "font-style", "white-space"}
_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]*")
_LONGEST_CLEANED = 100_000  # characters; reading more could take seconds
# What pandas writes before each table; front ends have the like.
_PANDAS = re.compile(r"<style scoped>\s{0,20}(?:\.dataframe [\w\s:>.-]{1,99}\{[\w\s:;-]{1,99}\}\s{0,20}){1,9}</style>")
_NO_CHANGE = frozenset({"tbody", "html", "head", "body"})  # a reader of HTML adds them by itself


def _cleaned(source: str) -> str | None:
    """Return HTML in which nothing can act, if `source` says nothing more than that; else None."""
    # An open tag costs Python's reader of HTML the square of its length.
    if len(source) > _LONGEST_CLEANED or source.count("<") > source.count(">"):
        return None
    try:
        import nh3
    except ImportError:
        return None
    source = _PANDAS.sub("", source)
    clean = nh3.clean(
        source,
        tags=_TEXT_TAGS,
        attributes=_ATTRIBUTES,
        allowed_classes={"table": {"dataframe"}},
        attribute_filter=_only_pictures,
        filter_style_properties=_STYLES,
        url_schemes={"data"},
        link_rel=None,
    )
    try:
        meaning = _Meaning(clean)
        return clean if _Meaning(source).found == meaning.found and not meaning.has_active_latex() else None
    except AssertionError:  # Python's reader of HTML gives up at `<![`
        return None


def _only_pictures(tag: str, name: str, value: str) -> str | None:
    return None if name == "src" and not _PICTURE.fullmatch(value) else value


class _Meaning(HTMLParser):
    """What HTML says: its tags with their attributes, and its words. How it is written does not count."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.found: list[object] = []
        self._texts: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _NO_CHANGE or attrs:
            # Styles that are taken away leave the text as it was said.
            said = sorted((name, value or "") for name, value in attrs if name != "style")
            self.found.append((tag, said))

    def handle_data(self, data: str) -> None:
        self.found += data.split()
        self._texts.append(data)

    def has_active_latex(self) -> bool:
        """Return whether its words hold what MathJax would turn into something that acts.

        MathJax reads through some tags, such as wbr, and takes others for a line break.
        """
        return any(_ACTIVE_LATEX.search(between.join(self._texts)) for between in ("", "\n"))

    def handle_decl(self, decl: str) -> None:
        self.found.append(decl)

    def handle_pi(self, data: str) -> None:
        self.found.append(data)
