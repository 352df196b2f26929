"""Output of kernels that are not one's own: what could act goes into a sandbox (FAULTS T15). Pure.

HTML, JavaScript and Markdown that a front end renders run with the local notebook's rights and can read its
server's token. Inside `<iframe sandbox="allow-scripts">`, which has an origin of its own, they cannot.
"""

from __future__ import annotations

from html import escape
from typing import Any

__all__ = ["tame"]

#: What only shows. LaTeX and JSON are drawn by the front end from data, and pictures are pictures.
_STATIC = frozenset(
    {"text/plain", "text/latex", "application/json", "image/png", "image/jpeg", "image/gif", "image/webp"}
)
_FRAMED = ("text/html", "image/svg+xml")  # the best first; the rest (javascript, vnd.*) has no meaning alone
_HEIGHT = 320  # pixels; a sandboxed frame cannot tell its own


def tame(data: dict[str, Any]) -> dict[str, Any]:
    """Give a MIME bundle that a foreign kernel's output may be shown as; its text stays beside it."""
    if all(mime in _STATIC for mime in data):
        return data
    static = {mime: value for mime, value in data.items() if mime in _STATIC}
    source = next((data[mime] for mime in _FRAMED if mime in data), None)
    if "text/markdown" in data:
        # Markdown may hold HTML; as text it is readable and does nothing.
        static.setdefault("text/plain", _joined(data["text/markdown"]))
    if source is not None:
        page = escape(_joined(source), quote=True)
        static["text/html"] = (
            f'<iframe sandbox="allow-scripts" srcdoc="{page}" '
            f'style="width:100%;height:{_HEIGHT}px;border:0;background:white"></iframe>'
        )
    elif not static:
        static["text/plain"] = f"<{next(iter(data))}, not shown: the kernel is not one's own>"
    return static


def _joined(value: Any) -> str:
    return "".join(map(str, value)) if isinstance(value, list) else str(value)
