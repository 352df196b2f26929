"""The parser of `kernel-bridge`: every command has its help, and an error is one line."""

from __future__ import annotations

import re

import pytest

from kernel_bridge_magic.cli.parser import parser_and_commands, shown
from kernel_bridge_magic.errors import BadInput

PARSER, COMMANDS = parser_and_commands()


def test_the_help_names_every_command() -> None:
    named = re.findall(r"^    (\w+)\s", PARSER.format_help(), re.MULTILINE)
    assert named == list(COMMANDS)
    assert {"list", "exec", "restart", "shutdown", "start", "completion"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_has_its_help(name: str) -> None:
    command = COMMANDS[name]
    assert [action.dest for action in command._actions if not action.help] == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["exec", "-c"], "-c/--code needs a value (kernel-bridge exec --help)"),
        (["list", "--verbose=yes"], "-v/--verbose takes no value"),
        (
            ["exec", "--kernel-id", "1", "--kernel-match", "x"],
            "--kernel-id and --kernel-match cannot be given together",
        ),
        (["exec", "--transport", "udp"], "--transport takes auto, zmq or ws, not 'udp'"),
        (["star\x1b[31mt"], "unknown command 'star\\x1b[31mt'; did you mean `start`?"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(line: list[str], says: str) -> None:
    with pytest.raises(BadInput) as error:
        PARSER.parse_known_args(line)
    assert str(error.value) == says


def test_a_word_that_is_shown_is_short_and_has_no_escapes() -> None:
    assert shown("a b") == "'a b'"
    assert len(shown("x" * 1000)) <= 62 and "\x1b" not in shown("\x1b[31m")
