"""One output of a kernel as HTML of ours, or as text. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from kernel_bridge_magic.display.ansi_html import to_html, to_plain

_BITMAPS = ("image/png", "image/jpeg", "image/gif", "image/webp")
_SVG = "image/svg+xml"
#: what becomes a picture in HTML of ours
PICTURES = (*_BITMAPS, _SVG)
#: what may stand beside text or a picture, and says no more
_BESIDE = frozenset({"text/plain", *PICTURES, "application/pdf"})
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*", re.ASCII)
_LARGEST_SIZE = 1e5  # pixels
_PRE = (
    "margin:0;padding:0 8px;font-family:var(--jp-code-font-family,monospace);font-size:var(--jp-code-font-size,13px);"
    "line-height:var(--jp-code-line-height,1.3);white-space:pre-wrap;overflow-wrap:anywhere;border:0"
)
_HEAD = "padding:2px 8px;font-family:var(--jp-ui-font-family,sans-serif);font-size:var(--jp-ui-font-size1,13px)"

Output = dict[str, Any]


def display(data: dict[str, Any], metadata: dict[str, Any] | None = None) -> Output:
    """Return an output that displays a MIME bundle."""
    return {"output_type": "display_data", "data": data, "metadata": metadata or {}}


def is_html(item: Output) -> bool:
    """Return whether an output is text or a picture, which HTML of ours can hold."""
    if item["output_type"] in ("stream", "error"):
        return True
    data = item["data"]
    return not data or (set(data) <= _BESIDE and ("text/plain" in data or picture_of(item) != ""))


def text_of(item: Output) -> str:
    """Return the text of an output, with its colours."""
    if item["output_type"] == "stream":
        return joined(item["text"])
    if item["output_type"] == "error":
        lines = item["traceback"] or [": ".join(filter(None, (item["ename"], item["evalue"])))]
        return "\n".join(lines).rstrip("\n") + "\n"
    text = joined(item["data"].get("text/plain", ""))
    return f"{text}\n" if text and not text.endswith("\n") else text


def texts_of(items: Iterable[Output]) -> str:
    """Return the texts of outputs. Only a stream goes on in a line that another output has begun."""
    texts: list[str] = []
    for item in items:
        if text := text_of(item):
            between = texts and not texts[-1].endswith("\n") and item["output_type"] != "stream"
            texts.append(f"\n{text}" if between else text)
    return "".join(texts)


def joined(value: Any) -> str:
    """Return a text that nbformat may keep as a list of its lines."""
    return "".join(map(str, value)) if isinstance(value, list) else str(value)


def html_of(head: str, items: Sequence[Output], plain_head: str, *, closed: bool = False) -> Output:
    """Return outputs as one, below `head`, which is HTML; with `closed` they are seen once somebody opens them.

    `plain_head` is the heading where there is no HTML.
    """
    parts: list[str] = []
    open_items: list[Output] = []  # text of one background
    for item in items:
        picture = picture_of(item)
        if open_items and (picture or _went_wrong(item) is not _went_wrong(open_items[0])):
            parts.append(_pre(open_items))
            open_items = []
        if picture:
            parts.append(picture)
        else:
            open_items.append(item)
    body = "".join([*parts, _pre(open_items)])
    if closed:
        body = f'<details><summary style="{_HEAD};cursor:pointer">{head}</summary>{body}</details>'
    elif head:
        body = f'<div style="{_HEAD}">{head}</div>{body}'
    plain = to_plain(texts_of(items)).rstrip("\n")
    plain_lines = ([f"── {plain_head}"] if plain_head else []) + ([plain] if plain else [])
    return display({"text/html": body, "text/plain": "\n".join(plain_lines)})


def _pre(items: Sequence[Output]) -> str:
    """Return text as HTML, in the class for which JupyterLab defines colours; what went wrong has its background."""
    text = texts_of(items).rstrip()
    if not text:
        return ""
    style = _PRE + (";background:var(--jp-rendermime-error-background)" if _went_wrong(items[0]) else "")
    return f'<div class="jp-RenderedText"><pre style="{style}">{to_html(text)}</pre></div>'


def _went_wrong(item: Output) -> bool:
    return item["output_type"] == "error" or item.get("name") == "stderr"


def picture_of(item: Output) -> str:
    """Return an `<img>` for an output that is a picture; "" for any other. In an `<img>` nothing can act."""
    data = item.get("data") or {}
    for mime in _BITMAPS:
        source = joined(data.get(mime, ""))
        if source and _BASE64.fullmatch(source):
            return _img(mime, re.sub(r"\s", "", source), item)
    if svg := joined(data.get(_SVG, "")):
        return _img(_SVG, base64.b64encode(svg.encode("utf-8", "replace")).decode(), item)
    return ""


def _img(mime: str, source: str, item: Output) -> str:
    metadata = item.get("metadata")
    about = metadata.get(mime) if isinstance(metadata, dict) else None
    sizes = about if isinstance(about, dict) else {}
    attributes = "".join(f' {name}="{sizes[name]:g}"' for name in ("width", "height") if _is_size(sizes.get(name)))
    alt = escape(joined(item["data"].get("text/plain", "")), quote=True)
    return f'<div style="padding:0 8px"><img src="data:{mime};base64,{source}" alt="{alt}"{attributes}></div>'


def _is_size(value: Any) -> bool:
    """Return whether a kernel's word for a width may go into our HTML: it may be any number, also an endless one."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _LARGEST_SIZE


def as_text(item: Output) -> Output:
    """Return a picture as its text: the picture itself comes at the end."""
    data = item["data"]
    return {**item, "data": {"text/plain": data.get("text/plain") or f"<{next(iter(data))}>"}}
