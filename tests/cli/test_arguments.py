"""The words of the command line: short and long spellings, and what is said of those that cannot be used."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import kernel_bridge_magic
from kernel_bridge_magic.cli.arguments import parse
from kernel_bridge_magic.errors import BadInput

PAGE = Path(kernel_bridge_magic.__file__).parent.parent / "notebooks" / "json.md"


def given(*line: str) -> tuple[Any, ...]:
    options = parse(["exec", *line])
    code = "standard input" if options.code_stdin else options.code or options.code_file
    return options.kernel_match, options.kernel_id, code, options.json


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (("a", "-c", "1"), ("--kernel-match", "a", "--code", "1")),
        (("-c", "1", "a"), ("--code", "1", "--kernel-match", "a")),
        (("--json", "my notebook.ipynb", "-c", "-1"), ("--json", "--kernel-match", "my notebook.ipynb", "--code=-1")),
        (("a", "-f", "job.py"), ("--kernel-match", "a", "--code-file", "job.py")),
        (("a", "-"), ("--kernel-match", "a", "--code-stdin")),
        (("-", "a"), ("--code-stdin", "--kernel-match", "a")),
        (("a", "--json", "-"), ("--kernel-match", "a", "--code-stdin", "--json")),
        (("a", "-f", "-"), ("--kernel-match", "a", "--code-stdin")),
        (("-",), ("--code-stdin",)),
        (("--kernel-id", "3f9c", "-"), ("--kernel-id", "3f9c", "--code-stdin")),
        (("--", "a", "-"), ("--kernel-match", "a", "--code-stdin")),
        (("", "-c", ""), ("--kernel-match", "", "--code", "")),
    ],
)
def test_short_spellings_mean_what_the_long_ones_do(short: tuple[str, ...], long: tuple[str, ...]) -> None:
    assert given(*short) == given(*long)


NO_COMMAND = (
    "no command: list, exec, get, put, interrupt, restart, shutdown, start, servers, demo or completion "
    "(kernel-bridge --help)"
)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ([], NO_COMMAND),
        (["--json"], NO_COMMAND),
        (["lst"], "unknown command 'lst'; did you mean `list`?"),
        (["north", "-c", "1"], "unknown command 'north'; did you mean `exec north -c CODE`?"),
        (["exec", "north"], "nothing to run. Write kernel-bridge exec NAME -c CODE, or -f FILE, or - to read it from "
         "standard input"),
        (["exec", "north", "print(1)"], "unexpected argument 'print(1)'; did you mean `exec north -c 'print(1)'`?"),
        (["exec", "my", "notebook.ipynb", "-c", "1"],
         "unexpected argument 'notebook.ipynb'; did you mean `exec 'my notebook.ipynb'`?"),
        (["exec", "--kernel-match", "a", "north", "-"],
         "unexpected argument 'north'; --kernel-match names the kernel already"),
        (["exec", "north", "--kernel-id", "3f9c", "-c", "1"],
         "unexpected argument 'north'; --kernel-id names the kernel already"),
        (["exec", "a", "-c", "1", "--code-stdin"], "the code is given twice, by -c and standard input; give it once"),
        (["exec", "a", "-f", "x", "-c", "1"], "the code is given twice, by -c and -f; give it once"),
        (["exec", "--", "a", "-c", "1"], "-c stands behind --, which ends the options; put it before that"),
        (["exec", "--tiemout", "3", "--code", "1"], "unknown option --tiemout; did you mean --timeout?"),
        (["exec", "a", "-c", "1", "--tokn=secret"], "unknown option --tokn; did you mean --token?"),
        (["exec", "a", "-c", "1", "--transport", "tcp"], "--transport takes auto, zmq or ws, not 'tcp'"),
        (["exec", "a", "-c"], "-c/--code needs a value (kernel-bridge exec --help)"),
        (["list", "--token", "a", "--password", "b"], "--token and --password cannot be given together"),
        (["exec", "--kernel-id", "a", "--kernel-match", "b"],
         "--kernel-id and --kernel-match cannot be given together"),
        (["list", "--json=1"], "--json takes no value"),
        (["list", "training", "run.ipynb"],
         "unexpected argument 'run.ipynb'; did you mean `list 'training run.ipynb'`?"),
        (["interrupt"], "which kernel? Write kernel-bridge interrupt NAME; kernel-bridge list lists them"),
        (["interrupt", "a", "b"], "unexpected argument 'b'; did you mean `interrupt 'a b'`?"),
        (["servers", "lab"], "unexpected argument 'lab'; did you mean `servers --check lab`?"),
        (["get"], "which kernel? Write kernel-bridge get MATCH NAME"),
        (["get", "a"], "which variable? Write kernel-bridge get MATCH NAME"),
        (["get", "a", "--json", "x", "y"], "unexpected argument 'y'. Write kernel-bridge get MATCH NAME"),
        (["get", "a", "x", "--replace"], "--replace goes with --output FILE"),
        (["get", "a", "x", "--max-size", "big"],
         "'big' is not a size: use 500MB, 1GB or a number of bytes (--max-size)"),
        (["put", "a", "x"], "which file? Write kernel-bridge put MATCH NAME FILE"),
        (["put", "a", "x", "-", "y"], "unexpected argument 'y'. Write kernel-bridge put MATCH NAME FILE"),
        (["demo", "--json"], "unknown option --json (kernel-bridge demo --help lists the options)"),
        (["demo", "now"], "unexpected argument 'now' (kernel-bridge demo --help)"),
        (["exec", "a", "x\x1b[2J" * 99], "unexpected argument 'x\\x1b[2Jx\\x1b[2Jx\\x1b[2Jx\\x1b[2Jx\\x1b[2Jx\\x1b[2J"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_told_with_what_to_write(line: list[str], says: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse(line)
    told = str(refused.value)
    assert told == says or (len(line[-1]) > 99 and told.startswith(says) and len(told) < 300)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"kernel-bridge {kernel_bridge_magic.__version__}\n"


@pytest.mark.parametrize("line", ["get a x -o f.csv", "get -o f.csv a x", "get a -o f.csv x", "get -- a x"])
def test_get_takes_its_words_between_options(line: str) -> None:
    options = parse(line.split())
    assert (options.match, options.name) == ("a", "x")


@pytest.mark.parametrize("line", ["put a x -", "put --json a x -", "put a --json x -", "put a x --max-size 2kB -"])
def test_put_takes_its_words_between_options(line: str) -> None:
    options = parse(line.split())
    assert (options.match, options.name, options.file) == ("a", "x", "-")


@pytest.mark.parametrize("line", [["--help"], ["exec", "--help"]])
def test_help_names_the_exit_statuses_that_the_page_names(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(line)
    told = capsys.readouterr().out.partition("exit status:")[2]
    documented = PAGE.read_text("utf-8").partition("## Exit status")[2]
    assert set(re.findall(r"\b\d+\b", told)) - {"0"} == set(re.findall(r"\b\d+\b", documented)) - {"0"}


@pytest.mark.parametrize("command", ["list", "exec", "get", "put", "interrupt", "servers", "demo", "completion"])
def test_help_tells_of_no_magic(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([command, "--help"])
    assert "%" not in capsys.readouterr().out
