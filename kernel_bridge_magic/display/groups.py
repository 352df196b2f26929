"""What a cell has shown on many kernels, as blocks: one for each kernel, or for all whose outputs are equal. Pure.

A block is a list of nbformat outputs. What is text or a picture becomes HTML of ours. HTML of a kernel, a widget, and
all else that only a front end can draw stays an output of its own behind it: it never becomes a part of our HTML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeVar

from kernel_bridge_magic.display.ansi_html import to_plain
from kernel_bridge_magic.display.group_html import (
    PICTURES,
    Output,
    as_text,
    html_of,
    is_html,
    joined,
    text_of,
    texts_of,
)
from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.text import count, visible

_MOST_NAMED = 10  # kernels in one line
_LONGEST_LIVE = 4096  # characters of a text, and outputs, that are painted while the cell runs
_MOST_LIVE_ITEMS = 20
_LARGEST_LIVE = 1 << 16  # characters of all pictures of a block that is painted while the cell runs
_LARGEST_BLOCK = 4 << 20  # characters of the HTML of a block: of more its heading is an output of its own
_LONGEST_PROBLEM = 200  # characters
_COUNT = re.compile(r"In ?\[\d+\]")
_LONGEST_OPEN = 10  # lines of a block that ended well; a longer one is closed
_MARKS = {Fate.OK: "✓", Fate.FAILED: "✗", Fate.DIED: "✗"}
_COLOURS = {Fate.OK: "#2e9e54", Fate.FAILED: "#d64541", Fate.DIED: "#d64541"}
_OTHER_COLOUR = "#e0821f"

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Shown:
    """What one kernel has shown so far.

    `name` is its heading and `link` the URL of its notebook, "" for none. `fate` is None while the cell is not over;
    `doing` then says what it does: `running`, `connecting`, `queued`. `why` says more, "" for nothing. `items` are
    nbformat outputs.
    """

    name: str
    link: str = ""
    fate: Fate | None = None
    doing: str = ""
    why: str = ""
    seconds: float = 0.0
    items: Sequence[Output] = ()

    @property
    def state(self) -> str:
        """The word for its state: its fate, or what it does."""
        return self.doing if self.fate is None else str(self.fate)


# -- lines


def summary(shown: Sequence[Shown], seconds: float | None = None) -> str:
    """Return one line about all kernels; `seconds` is how long it took in all, None while it is not over."""
    states: dict[str, list[Shown]] = {}
    for one in sorted(shown, key=lambda one: one.fate is not Fate.OK):
        states.setdefault(one.state, []).append(one)
    parts = [f"{len(them)} {state}{'' if state == Fate.OK else _names(them)}" for state, them in states.items()]
    took = "" if seconds is None else f" in {seconds:.1f} s"
    return f"{count(len(shown), 'kernel')}{took}: {', '.join(parts)}"


def _names(shown: Sequence[Shown]) -> str:
    some = [visible(f"{one.name}: {one.why}" if one.why else one.name) for one in shown[:_MOST_NAMED]]
    more = [f"{len(shown) - _MOST_NAMED} more"] if len(shown) > _MOST_NAMED else []
    return f" ({', '.join(some + more)})"


def heading(members: Sequence[Shown]) -> str:
    """Return the line above a block, as text: `south, hill (2): ok 0.5 s`."""
    names = [visible(one.name) for one in members]
    number = f" ({len(members)})" if len(members) > 1 else ""
    return f"{', '.join(names)}{number}: {_state(members)}"


def _state(members: Sequence[Shown]) -> str:
    first = members[0]
    longest = max(one.seconds for one in members)
    why = f" ({visible(first.why)})" if first.why else ""
    return f"{first.state}{why}" + (f" {longest:.1f} s" if longest and first.fate is not None else "")


# -- blocks


def fold(shown: Sequence[Shown], *, group: bool = True) -> list[list[int]]:
    """Return blocks of kernels that have shown the same and come to the same, as their numbers.

    Each number is in one block. Blocks stand in the order of their first kernel, those that did not end well last.
    Without `group` each kernel has a block of its own.
    """
    blocks: dict[object, list[int]] = {}
    for number, one in enumerate(shown):
        blocks.setdefault(_key(one) if group else number, []).append(number)
    return sorted(blocks.values(), key=lambda numbers: shown[numbers[0]].fate is not Fate.OK)


def _key(one: Shown) -> str:
    items = [{name: value for name, value in item.items() if name != "execution_count"} for item in one.items]
    # A traceback has the kernel's own count of the cell, too.
    for item in items:
        if item["output_type"] == "error":
            item["traceback"] = [_COUNT.sub("In[]", str(line)) for line in item["traceback"]]
    try:
        return json.dumps([one.state, one.why, items], sort_keys=True, default=repr)
    except Exception:  # it is like no other
        return f"{one.name} {id(one)}"


def native_outputs(one: Shown) -> int:
    """Return how many outputs of a kernel only a front end can draw."""
    return _made(lambda items: sum(not is_html(item) for item in items), one.items)


def block(members: Sequence[Shown], most: int | None = None) -> list[Output]:
    """Return the outputs of a block whose `members` have shown the same: first a heading, then what was shown.

    Of more than `most` outputs that only a front end can draw the newest are shown, and a line counts the others.
    """
    return _made(lambda items: _block(members, items, most), members[0].items)


def _block(members: Sequence[Shown], items: Sequence[Output], most: int | None) -> list[Output]:
    line, plain = _heading_html(members), heading(members)
    parts: list[list[Output]] = [[]]  # runs of what becomes HTML, and between them what does not
    natives: list[Output] = []
    for item in items if most is None else _newest(items, most):
        if is_html(item):
            parts[-1].append(item)
        else:
            natives.append(item)
            parts.append([])
    closed = members[0].fate is Fate.OK and not natives and _is_long(parts[0])
    outputs = [html_of(line, parts[0], plain, closed=closed)]
    if len(outputs[0]["data"]["text/html"]) > _LARGEST_BLOCK:
        # A notebook's sink puts what is too large into a file: the heading must not be in it.
        outputs = [html_of(line, [], plain), html_of("…" if closed else "", parts[0], "", closed=closed)]
    for native, rest in zip(natives, parts[1:], strict=True):
        outputs.append(native)
        if rest:
            outputs.append(html_of("", rest, ""))
    return outputs


def _newest(items: Sequence[Output], most: int) -> list[Output]:
    """Return outputs without the oldest of those that only a front end can draw; a line stands for them."""
    natives = [number for number, item in enumerate(items) if not is_html(item)]
    omitted = natives[: max(len(natives) - most, 0)]
    if not omitted:
        return list(items)
    line = f"… {count(len(omitted), 'display')} omitted: a notebook takes no more from many kernels at once"
    left_out = set(omitted)
    return [
        _said(line) if number == omitted[-1] else item
        for number, item in enumerate(items)
        if number == omitted[-1] or number not in left_out
    ]


def _made(make: Callable[[Sequence[Output]], Made], items: Sequence[Output]) -> Made:
    """Return what `make` makes of outputs. One of which nothing can be made is a line: the others are not lost."""
    try:
        return make(items)
    except Exception:
        return make([_checked(item) for item in items])


def _checked(item: Output) -> Output:
    try:
        is_html(item)
        html_of("", [item, *_live([item])], "")
    except Exception as problem:
        return _said(f"kernel-bridge: {not_shown(problem)}")
    return item


def _said(line: str) -> Output:
    """Return an output that is a line of ours; as an error is, it begins a line."""
    return {"output_type": "error", "ename": "", "evalue": "", "traceback": [line]}


def not_shown(problem: Exception) -> str:
    """Return the words for an output that could not be shown."""
    return f"an output could not be shown ({type(problem).__name__}: {visible(str(problem))[:_LONGEST_PROBLEM]})"


def live_block(one: Shown) -> Output:
    """Return one output for a kernel whose cell runs: the end of its text, small pictures, and the text of all else."""
    line, plain = _heading_html([one]), heading([one])
    return _made(lambda items: html_of(line, _live(items), plain), one.items[-_MOST_LIVE_ITEMS:])


def _live(items: Sequence[Output]) -> list[Output]:
    """Return outputs with only what may be sent a few times a second: the newest pictures, and the ends of texts."""
    live: list[Output] = []
    room = _LARGEST_LIVE
    for item in reversed(items):
        data = item.get("data") or {}
        size = sum(len(joined(value)) for mime, value in data.items() if mime in PICTURES)
        if size > room:
            item = as_text(item)
        else:
            room -= size
        live.append(_tail(item))
    return live[::-1]


def _tail(item: Output) -> Output:
    """Return an output with the end of its text, where that is long: it is painted a few times a second."""
    if item["output_type"] == "error":
        return {
            **item,
            "evalue": item["evalue"][:_LONGEST_LIVE],
            "traceback": [_cut(line) for line in item["traceback"][-_MOST_LIVE_ITEMS:]],
        }
    if item["output_type"] == "stream":
        return {**item, "text": _cut(item["text"])}
    data = item["data"]
    return {**item, "data": {**data, "text/plain": _cut(joined(data["text/plain"]))}} if "text/plain" in data else item


def _cut(text: str) -> str:
    """Return the end of a long text, from the start of a line; a progress bar may have none."""
    if len(text) <= _LONGEST_LIVE:
        return text
    end = text[-_LONGEST_LIVE:]
    return "…" + (end.partition("\n")[2] or end)


def block_text(members: Sequence[Shown]) -> str:
    """Return a block as text for a terminal, with its colours: a heading, and what was shown."""
    return f"── {heading(members)}\n{_made(texts_of, members[0].items)}"


def last_line(one: Shown) -> str:
    """Return the last line that a kernel has printed, without colours: a progress bar as it stands now."""
    return _made(_last_line, one.items)


def _last_line(items: Sequence[Output]) -> str:
    text = next((text for item in reversed(items) if (text := to_plain(text_of(_tail(item)))).strip()), "")
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


def _is_long(items: Iterable[Output]) -> bool:
    return sum(to_plain(text_of(item)).rstrip("\n").count("\n") + 1 for item in items if text_of(item)) > _LONGEST_OPEN


def _heading_html(members: Sequence[Shown]) -> str:
    links = [
        f'<a href="{escape(one.link, quote=True)}">{escape(visible(one.name))}</a>'
        if one.link
        else escape(visible(one.name))
        for one in members
    ]
    number = f" ({len(members)})" if len(members) > 1 else ""
    fate = members[0].fate
    colour = "inherit" if fate is None else _COLOURS.get(fate, _OTHER_COLOUR)
    mark = f"{_MARKS[fate]} " if fate in _MARKS else ""
    names = ", ".join(f"<bdi>{link}</bdi>" for link in links)
    return f'<b>{names}</b>{number} <span style="color:{colour}">{mark}{escape(_state(members))}</span>'
