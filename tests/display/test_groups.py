"""Blocks of what many kernels have shown."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.display.ansi_html import to_plain
from kernel_bridge_magic.display.group_html import is_html
from kernel_bridge_magic.display.groups import (
    Shown,
    block,
    block_text,
    fold,
    heading,
    last_line,
    live_block,
    native_outputs,
    summary,
)
from kernel_bridge_magic.errors import Fate

PIXEL = "iVBORw0KGgo="


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def shows(**data: Any) -> dict[str, Any]:
    return {"output_type": "display_data", "data": {k.replace("_", "/"): v for k, v in data.items()}, "metadata": {}}


def result(text: str, number: int = 1) -> dict[str, Any]:
    data = {"text/plain": text}
    return {"output_type": "execute_result", "data": data, "metadata": {}, "execution_count": number}


ERROR = {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["\x1b[31mE\x1b[0m: v <x>"]}


def ok(name: str, *items: dict[str, Any], seconds: float = 0.5) -> Shown:
    return Shown(name, fate=Fate.OK, seconds=seconds, items=items)


def failed(name: str, *items: dict[str, Any]) -> Shown:
    return Shown(name, fate=Fate.FAILED, seconds=0.6, items=items or (ERROR,))


def html(output: dict[str, Any]) -> str:
    return str(output["data"]["text/html"])


# -- lines


def test_the_line_says_who_is_at_what() -> None:
    shown = [
        ok("a"), Shown("north", doing="running"), ok("b"), Shown("west", doing="running"),
        Shown("east", doing="queued", why="busy for another client"), failed("x"),
    ]  # fmt: skip
    assert summary(shown) == (
        "6 kernels: 2 ok, 2 running (north, west), 1 queued (east: busy for another client), 1 failed (x)"
    )
    assert summary([ok("a"), failed("west")], 4.58) == "2 kernels in 4.6 s: 1 ok, 1 failed (west)"
    assert summary([ok("a")], 0.04) == "1 kernel in 0.0 s: 1 ok"
    assert summary([failed(f"k{n}") for n in range(12)]).endswith(" k8, k9, 2 more)")
    assert "\x1b" not in summary([failed("a\x1b[31m"), Shown("b", doing="queued", why="\x1b[0m")])


def test_a_heading_names_all() -> None:
    assert heading([ok("south"), ok("hill", seconds=0.9)]) == "south, hill (2): ok 0.9 s"
    assert heading([Shown("east", doing="queued", why="busy")]) == "east: queued (busy)"
    assert heading([failed("west")]) == "west: failed 0.6 s"


# -- folding


def test_equal_outputs_are_one_block_and_failed_ones_stand_last() -> None:
    shown = [failed("a"), ok("b", stream("x")), ok("c", stream("y")), ok("d", stream("x")), failed("e")]
    assert fold(shown) == [[1, 3], [2], [0, 4]]
    assert fold(shown, group=False) == [[1], [2], [3], [0], [4]]


def test_the_number_of_a_result_does_not_count() -> None:
    assert fold([ok("a", result("7", 1)), ok("b", result("7", 9))]) == [[0, 1]]
    assert fold([ok("a", result("7")), ok("b", result("8"))]) == [[0], [1]]
    assert fold([ok("a", stream("x")), ok("b", stream("x", "stderr"))]) == [[0], [1]]


items = st.lists(
    st.sampled_from([stream("a"), stream("b"), result("7", 1), result("7", 2), ERROR, shows(text_html="<p>")]),
    max_size=3,
)
many = st.lists(st.builds(Shown, st.text(max_size=3), fate=st.sampled_from([None, *Fate]), items=items), max_size=12)


@given(many, st.booleans())
def test_blocks_partition_the_kernels(shown: list[Shown], group: bool) -> None:
    blocks = fold(shown, group=group)
    assert sorted(number for numbers in blocks for number in numbers) == list(range(len(shown)))
    assert all(numbers == sorted(numbers) for numbers in blocks)
    for numbers in blocks:
        assert len({shown[number].state for number in numbers}) == 1
        outputs = block([shown[number] for number in numbers])
        assert outputs[0]["data"]["text/html"]
    well = [shown[numbers[0]].fate is Fate.OK for numbers in blocks]
    assert well == sorted(well, reverse=True)
    for kind in (True, False):
        firsts = [numbers[0] for numbers, is_well in zip(blocks, well, strict=True) if is_well is kind]
        assert firsts == sorted(firsts)


# -- blocks


def test_text_and_pictures_are_html_of_ours() -> None:
    picture = shows(image_png=PIXEL, text_plain="<Figure>")
    picture["metadata"] = {"image/png": {"width": 400, "height": 3e2, "onload": "x"}}
    (whole,) = block([ok("a<b", stream("\x1b[32m<ok>\x1b[0m\n"), picture, result("42"))])
    assert "a&lt;b" in html(whole) and '<span class="ansi-green-fg">&lt;ok&gt;</span>' in html(whole)
    img = f'<img src="data:image/png;base64,{PIXEL}" alt="&lt;Figure&gt;" width="400" height="300">'
    assert img in html(whole) and html(whole).index("ok&gt;") < html(whole).index(img) < html(whole).index("42</pre>")
    assert whole["data"]["text/plain"] == "── a<b: ok 0.5 s\n<ok>\n<Figure>\n42"
    (svg,) = block([ok("a", {**shows(text_plain="s"), "data": {"image/svg+xml": "<svg onload='x'/>"}})])
    assert "onload" not in html(svg) and "data:image/svg+xml;base64," in html(svg)


@pytest.mark.parametrize(
    "native",
    [
        shows(text_html="<script>1</script>", text_plain="x"),
        shows(text_markdown="# x", text_plain="x"),
        shows(text_latex="$x$"),
        shows(application_javascript="1"),
        {"output_type": "display_data", "data": {"application/vnd.jupyter.widget-view+json": {}}, "metadata": {}},
        shows(image_png='"><script>', text_html="x"),
    ],
)
def test_what_only_a_front_end_can_draw_stays_as_it_is(native: dict[str, Any]) -> None:
    assert not is_html(native)
    first, itself, last = block([ok("a", stream("before"), native, stream("after"))])
    assert itself is native
    assert "before" in html(first) and "after" in html(last) and "script" not in html(first) + html(last)


def test_a_picture_that_is_none_cannot_leave_its_attribute() -> None:
    (only,) = block([ok("a", shows(image_png='"><script>', text_plain="text"))])
    assert "<script" not in html(only) and "text" in html(only)


def test_a_long_block_that_ended_well_is_closed() -> None:
    long = stream("".join(f"{n}\n" for n in range(11)))
    (closed,) = block([ok("a", long)])
    assert html(closed).startswith("<details><summary")
    (short,) = block([ok("a", stream("".join(f"{n}\n" for n in range(10))))])
    (bar,) = block([ok("a", stream("".join(f"\r{n}" for n in range(99))))])
    (wrong,) = block([failed("a", long)])
    first, *_ = block([ok("a", long, shows(text_html="<p>"))])
    for open_one in (short, bar, wrong, first):
        assert "<details" not in html(open_one)


def test_a_live_block_is_one_output() -> None:
    one = Shown("a", doing="running", items=[stream("x\n"), shows(text_html="<p>", text_plain="table"), ERROR])
    live = live_block(one)
    before, wrong = re.findall(r"<pre[^>]*>(.*?)</pre>", html(live), re.DOTALL)
    assert before == "x\ntable" and wrong == '<span class="ansi-red-fg">E</span>: v &lt;x&gt;'
    assert "<p>" not in html(live) and "running" in html(live)


def test_errors_are_equal_where_only_the_kernels_count_otherwise() -> None:
    def raised(count: int, name: str = "E") -> dict[str, Any]:
        lines = [f"{name}\n", f"Cell \x1b[32mIn[{count}]\x1b[39m, line 1", f"Input In [{count}], in <module>"]
        return {"output_type": "error", "ename": name, "evalue": "v", "traceback": lines}

    ones = [failed("a", raised(1)), failed("b", raised(12)), failed("c", raised(1, "F"))]
    assert fold(ones) == [[0, 1], [2]] and ones[1].items == (raised(12),)


def test_only_a_stream_goes_on_in_a_line_that_was_begun() -> None:
    items = [stream("a"), stream("b"), result("1"), stream("c"), ERROR]
    (only,) = block([failed("x", *items)])
    assert only["data"]["text/plain"] == "── x: failed 0.6 s\nab\n1\nc\nE: v <x>"
    assert to_plain(block_text([failed("x", *items)])) == "── x: failed 0.6 s\nab\n1\nc\nE: v <x>\n"


def test_what_went_wrong_has_another_background() -> None:
    warning = {"output_type": "stream", "name": "stderr", "text": "careful"}
    (only,) = block([ok("x", stream("a\n"), warning, result("1"))])
    texts = re.findall(r'<pre style="[^"]*?(error-background)?\)?">(.*?)</pre>', html(only))
    assert texts == [("", "a"), ("error-background", "careful"), ("", "1")]


def test_links_and_names_are_escaped() -> None:
    one = Shown('n"><b>', link='a"b', fate=Fate.OK)
    (only,) = block([one])
    assert '<a href="a&quot;b">n&quot;&gt;&lt;b&gt;</a>' in html(only)


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_text_of_a_kernel_is_a_tag(text: str, name: str) -> None:
    (only,) = block([ok(name, stream(text))])
    tags = set(re.findall(r"<(/?[a-z]+)", html(only)))
    assert tags <= {"div", "/div", "b", "/b", "bdi", "/bdi", "span", "/span", "pre", "/pre", "details", "/details",
                    "summary", "/summary"}  # fmt: skip


# -- what is too much, and what cannot be shown


def test_of_too_many_native_outputs_the_newest_are_shown_and_the_others_counted() -> None:
    items = [item for n in range(6) for item in (stream(f"{n}\n"), shows(text_html=f"<p>{n}"))]
    one = ok("a", *items)
    assert native_outputs(one) == 6
    first, *others = block([one], 2)
    omitted = "… 4 displays omitted: a notebook takes no more from many kernels at once"
    assert first["data"]["text/plain"] == f"── a: ok 0.5 s\n0\n1\n2\n3\n{omitted}\n4"
    assert [html(it) for it in others if it in items] == ["<p>4", "<p>5"] and len(others) == 3
    assert block([one], 6) == block([one])


def test_the_heading_of_a_very_large_block_is_an_output_of_its_own() -> None:
    picture = shows(image_png="A" * (5 << 20), text_plain="<Figure>")
    head, body = block([ok("a", stream("x\n"), picture)])
    assert head["data"]["text/plain"] == "── a: ok 0.5 s" and len(html(head)) < 1000
    assert body["data"]["text/plain"] == "x\n<Figure>" and "<img" in html(body)


def test_a_large_picture_is_its_text_while_the_cell_runs() -> None:
    large, small = (
        shows(image_png="A" * 70_000, text_plain="<Figure 1>"),
        shows(image_png=PIXEL, text_plain="<Figure 2>"),
    )
    unnamed = shows(image_svg_xml="<svg>")
    unnamed["data"] = {"image/svg+xml": "<svg>" + "x" * 70_000}
    one = Shown("a", doing="running", items=[large, small, unnamed, stream("text\n")])
    live = html(live_block(one))
    assert len(live) < 5000 and PIXEL in live and "&lt;Figure 1&gt;" in live and "&lt;image/svg+xml&gt;" in live
    assert "A" * 70_000 in html(block([one])[0])
    medium = shows(image_png="A" * 40_000, text_plain="<Figure>")
    live = html(live_block(Shown("a", doing="running", items=[medium] * 5)))
    assert live.count("<img") == 1, "all pictures of a block have one limit"


def test_a_long_text_of_any_kind_is_cut_while_the_cell_runs() -> None:
    long = "line\n" * 100_000
    error = {**ERROR, "evalue": long, "traceback": [long] * 3}
    one = Shown("a", doing="running", items=[stream(long), result(long), error])
    assert len(html(live_block(one))) < 30_000
    assert last_line(one) == "line"


@pytest.mark.parametrize("width", [10**400, float("inf"), float("nan"), -1, 0, True, "400", 1e5, None, [1]])
def test_a_size_that_is_none_is_left_out(width: object) -> None:
    picture = shows(image_png=PIXEL, text_plain="<Figure>")
    picture["metadata"] = {"image/png": {"width": width, "height": 300}}
    (only,) = block([ok("a", picture)])
    assert "width=" not in html(only).replace("overflow", "").split("<img")[1] and 'height="300"' in html(only)
    assert last_line(ok("a", picture)) == "<Figure>"


def test_what_cannot_be_shown_is_a_line_in_its_block() -> None:
    bad = {"output_type": "display_data"}  # without its data
    one = ok("a", stream("x"), bad)
    said = "kernel-bridge: an output could not be shown (KeyError: 'data')"
    (whole,) = block([one])
    assert whole["data"]["text/plain"] == f"── a: ok 0.5 s\nx\n{said}"
    assert html(live_block(one)).count("could not be shown") == 1
    assert block_text([one]) == f"── a: ok 0.5 s\nx\n{said}\n"
    assert last_line(one) == f"{said}"
    assert native_outputs(one) == 0
    first, native = block([ok("a", bad, shows(text_html="<p>"))], 1)
    assert said in first["data"]["text/plain"] and html(native) == "<p>"
    odd = {"output_type": "display_data", "data": {1: "x", "a": "y"}, "metadata": {}}
    assert fold([ok("a", odd), ok("b", stream("x")), ok("c", odd)]) == [[0], [1], [2]]


def test_a_long_progress_bar_stands_as_it_is_now() -> None:
    bar = stream("".join(f"\r{number:4}% of a bar" for number in range(1000)))
    one = Shown("a", doing="running", items=[bar])
    assert last_line(one) == " 999% of a bar"
    assert live_block(one)["data"]["text/plain"] == "── a: running\n 999% of a bar"
