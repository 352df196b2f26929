from __future__ import annotations

import argparse

import pytest

from kernel_bridge_magic.errors import BadInput, BadOption
from kernel_bridge_magic.ipython.line_parser import HelpWanted, MagicParser
from kernel_bridge_magic.ipython.options import autoremote_parser, kernels_parser, remote_parser, servers_parser

PARSERS = {"remote": remote_parser, "kernels": kernels_parser, "servers": servers_parser}


def test_a_cell_that_says_nothing_waits_raises_and_leaves_no_trace() -> None:
    options, rest = parse(remote_parser(), "analysis")
    assert rest == "analysis"
    assert (options.if_busy, options.transport, options.timeout, options.server) == (None, "auto", None, None)
    assert not (options.no_raise_error or options.history or options.durable or options.quiet or options.result)


def test_all_that_a_cell_can_be_told() -> None:
    line = "-s lab --result r --timeout 5m --if-busy fail --no-raise-error --history --transport ws --durable -q x"
    options, rest = parse(remote_parser(), line)
    assert (options.result, options.timeout, options.if_busy, options.transport) == ("r", 300.0, "fail", "ws")
    assert options.no_raise_error and options.history and options.durable and options.quiet
    assert rest == "x"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("remote", "--timeout soon x"),
        ("remote", "--if-busy sometimes x"),
        ("remote", "--transport pigeon x"),
        ("servers", "--add https://x/ --token env:A --password env:B"),
        ("kernels", "--save"),
    ],
)
def test_what_an_option_does_not_accept_is_one_line(name: str, line: str) -> None:
    with pytest.raises((BadInput, BadOption)) as raised:
        parse(PARSERS[name](), line)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "line", ["-o x north", "--all north", "north --bg", "--result=r north", "-i a,b north", "-j 3 x"]
)
def test_what_is_for_one_cell_is_refused_for_every_cell(line: str) -> None:
    with pytest.raises(BadOption, match=r"^(-\w|--[a-z]+) is for one cell: write %%remote (-\w|--[a-z]+) above it$"):
        parse(autoremote_parser(), line)


def test_each_option_of_a_cell_is_one_of_every_cell_or_refused_for_it() -> None:
    of_a_cell, of_every_cell = (set(it.options_from("-")) for it in (remote_parser(), autoremote_parser()))
    assert of_every_cell < of_a_cell
    for name in of_a_cell - of_every_cell:
        with pytest.raises(BadOption, match="is for one cell"):
            parse(autoremote_parser(), f"{name} x")


def test_a_secret_is_in_no_text_of_the_options() -> None:
    options, _ = parse(servers_parser(), "--add https://x/?token=hush --token hush-hush")
    assert "hush" not in repr(options)


@pytest.mark.parametrize("name", PARSERS)
def test_the_help_names_each_option(name: str) -> None:
    parser = PARSERS[name]()
    with pytest.raises(HelpWanted) as raised:
        parse(parser, "-h")
    options = [it for line in str(raised.value).splitlines() for it in line.split() if it.startswith("--")]
    assert {"remote": "--durable", "kernels": "--verbose", "servers": "--ca-file"}[name] in options


def parse(parser: MagicParser, line: str) -> tuple[argparse.Namespace, str]:
    return parser.parse_line(line)
