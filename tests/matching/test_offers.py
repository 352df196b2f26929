"""What is offered for a MATCH that is half typed."""

from __future__ import annotations

import time

import pytest
from hypothesis import given

from kernel_bridge_magic.ipython.line_parser import split_words
from kernel_bridge_magic.ipython.options import remote_parser
from kernel_bridge_magic.matching.find import find_one
from kernel_bridge_magic.matching.offers import listed_offers, offers, server_offers
from kernel_bridge_magic.matching.several import find_several, is_list
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.text import visible
from tests.support.matches import ALL, GPU, LAB, kernel, listings, pasted, server, texts

SERVERS = [LAB, GPU]
NASTY = (
    *("a,b.ipynb", "#2", "#2.ipynb", "a # b", "don't.ipynb", "'q'.ipynb", "a::b.ipynb", "lab::a.ipynb", "gpu::#1"),
    *("re:x", "re:[", "-h", "--all.ipynb", "-", "--", "*", "a*?[x].ipynb", "12345", "2.ipynb", "off", "Off.ipynb"),
    *("3f9c1c0e-0512-4b0e-9d2c-3f1a5c0b7e44.ipynb", "$name", "{x}.ipynb", "a ", "e\u0301.ipynb", "python3.ipynb"),
    *("=a", "~/a", "/abs/a.ipynb", "%a", "a?", "?a", "a;b", "a#b", "\u202ea", "a\tb", "a\nb", "\u00a0a", "''", "'"),
    *('"a"', "a\\b", "lab", "lab::", "::", "[::1]", "http://127.0.0.1:8888::a", "a, b", ",", "日本 語.ipynb", "😀"),
)


def offered(typed: str, kernels: list[Kernel] = ALL) -> list[str]:
    return [offer.text for offer in offers(typed, kernels, [LAB])]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("ana", ["analysis"]),
        ("ANA", ["analysis"]),
        ("work", ["analysis", "other"]),  # a part of a path gives the whole name, and not the rest of the path
        ("sta", ["stats"]),
        ("cafe", ["café"]),
        ("3f9c1", ["analysis"]),
        ("nosuch", []),
        ("mine", []),  # this kernel itself
    ],
)
def test_names(typed: str, expected: list[str]) -> None:
    assert offered(typed) == expected


def test_what_begins_so_comes_first() -> None:
    assert offered("a")[0] == "analysis"
    assert len(offered("")) == len(ALL) - 1


def test_twins_are_offered_by_their_paths() -> None:
    twins = [kernel(1, "a/nb.ipynb"), kernel(2, "b/nb.ipynb"), kernel(3, "b/my nb.ipynb")]
    assert offered("nb", twins) == ["a/nb.ipynb", "b/nb.ipynb", '"my nb"']


def test_servers() -> None:
    twins = [kernel(1, "nb.ipynb", at=LAB), kernel(2, "nb.ipynb", at=GPU)]
    assert [it.text for it in offers("n", twins, SERVERS)] == ["lab::nb", "gpu::nb"]
    assert [it.text for it in offers("gpu::", twins, SERVERS)] == ["gpu::nb"]
    assert [tuple(it) for it in offers("g", twins, SERVERS)] == [("gpu::", "server")]
    assert [tuple(it) for it in server_offers("l", SERVERS)] == [("lab", "server")]


def test_the_type_is_one_word_of_state() -> None:
    busy = kernel(1, "a.ipynb", state="busy")
    assert [tuple(it) for it in offers("", [busy], [LAB])] == [("a", "busy")]


@given(listings, texts)
def test_each_means_its_kernel_alone(kernels: list[Kernel], typed: str) -> None:
    others = {it.id for it in kernels if not it.is_this_kernel}
    assert {find_one(offer.text, kernels).id for offer in offers("", kernels, [LAB])} == others
    for offer in (*offers(typed, kernels, SERVERS), *listed_offers(f"a,{typed}", kernels, SERVERS)):
        assert offer.text == visible(offer.text) and len(split_words(offer.text)) == 1
        assert offer.type.isidentifier()


def test_the_last_item_of_a_list_is_offered_with_the_others() -> None:
    three = [kernel(1, "a/nb.ipynb"), kernel(2, "b/nb.ipynb"), kernel(3, "my nb.ipynb")]
    assert [it.text for it in listed_offers("a/nb.ipynb,", three, [LAB])] == [
        "a/nb.ipynb,b/nb.ipynb",
        '"a/nb.ipynb,my nb"',
    ]
    assert [it.text for it in listed_offers("my nb, b/", three, [LAB])] == ['"my nb,b/nb.ipynb"']
    assert [it.text for it in listed_offers("a/", three, [LAB])] == ["a/nb.ipynb"]
    assert listed_offers("re:a{1,", three, [LAB]) == []


PARSER = remote_parser()


def means(text: str) -> list[str]:
    """What one of the ways that `pasted` tries gives, which is quick."""
    return [PARSER.parse_head(f"{text} pass")[1]]


@pytest.mark.parametrize("path", NASTY)
def test_a_name_that_reads_as_something_else(path: str) -> None:
    kernels = [kernel(1, path), kernel(2, "dir/" + path, at=GPU), kernel(3, "a.ipynb"), kernel(4, path + ".x", at=GPU)]
    first = kernels[2]
    for typed, there in (
        ("", kernels),
        ("lab::", kernels[::2]),
        ("gpu::", kernels[1::2]),
        (f"{GPU.url}::", kernels[1::2]),
    ):
        found = [offer.text for offer in offers(typed, kernels, SERVERS) if offer.type != "server"]
        for ways in zip(*map(means if typed else pasted, found), strict=True):
            assert {find_one(text, kernels, rows=kernels[2:]).id for text in ways} == {it.id for it in there}
            assert all(not is_list(text, kernels) for text in ways)
        if "," in path:
            continue  # it is in no list
        lists = [it.text for it in listed_offers(f"{first.id},{typed}", kernels, SERVERS) if it.type != "server"]
        both = [find_several(means(text)[0], kernels, every=False) for text in lists]
        assert sorted(it.id for two in both for it in two if it != first) == sorted(
            it.id for it in there if it != first
        )


@pytest.mark.parametrize("kernel_id", ["-h", "a\n!ls", "a b\x1b[2J", "$(ls)", '"', "\ud800", " "])
def test_an_id_that_somebody_chose_does_no_harm(kernel_id: str) -> None:
    there = kernel(1, id=kernel_id, state="busy\x1b[2J")
    assert [it for it in offers("", [there], [LAB]) if not it.text.isprintable() or it.type != "unknown"] == []
    assert all(list(pasted(it.text)) == [kernel_id] * 3 for it in offers("", [there], [LAB]))


@pytest.mark.parametrize("number", [100, 2000])
def test_of_very_many(number: int) -> None:
    for path in ("work/nb{}.ipynb", "work/{}/nb.ipynb", "work/nb.ipynb", ""):
        kernels = [kernel(it, *filter(None, [path.format(it)]), at=(LAB, GPU)[it % 2]) for it in range(number)]
        began = time.process_time()
        assert len(offered("work" if path else "", kernels)) == min(number, 200)
        assert time.process_time() - began < 5  # milliseconds, where nothing else is at work


def test_students_with_the_same_notebook() -> None:
    """More than are compared one by one: each has a server of its own."""
    kernels = [kernel(it, "hw/one.ipynb", at=server(f"student{it}", it)) for it in range(200)]
    assert offered("one", kernels) == [f"student{it}::one" for it in range(200)]
