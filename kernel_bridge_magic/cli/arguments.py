"""Understanding the arguments of `kernel-bridge`, whatever their order: which kernel, which code, which file."""

from __future__ import annotations

import argparse
import difflib
import shlex
from collections.abc import Sequence

from kernel_bridge_magic.cli.parser import LONGEST_SHOWN, parser_and_commands, shown
from kernel_bridge_magic.errors import BadInput
from kernel_bridge_magic.text import cut_end, visible


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments; `command` of the result is the command's name.

    For `exec` the kernel is in `kernel_match` or `kernel_id`, and the code in `code`, `code_file` or `code_stdin`,
    however they were written.

    Raises:
        BadInput: they cannot be used; one line says why.
    """
    parser, commands = parser_and_commands()
    options, extra = parser.parse_known_args(arguments)
    if options.command is None:
        *most, last = commands
        raise BadInput(f"no command: {', '.join(most)} or {last} (kernel-bridge --help)")
    command = commands[options.command]
    for word in extra:
        if word in command._option_string_actions:
            raise BadInput(f"{word} stands behind --, which ends the options; put it before that")
        if word.startswith("-") and word != "-":
            raise BadInput(_unknown_option(word.partition("=")[0], command))
    match = getattr(options, "match", None)
    words = [] if match in (None, command.get_default("match")) else [match]
    if options.command in ("get", "put"):
        words += [getattr(options, name) for name in ("name", "file") if name in options]
    words += extra
    if options.command == "exec":
        _settle(options, words)
    elif options.command in ("get", "put"):
        _settle_copy(options, words)
    elif options.command in ("interrupt", "restart", "shutdown") and not words:
        raise BadInput(f"which kernel? Write kernel-bridge {options.command} NAME; kernel-bridge list lists them")
    elif options.command == "start" and not words:
        raise BadInput("what is to be started? Write kernel-bridge start north.ipynb, or a kernel's kind: python3")
    elif options.command == "servers" and words:
        raise BadInput(_unexpected(words[0], f"servers --check {shlex.quote(words[0])}"))
    elif options.command in ("demo", "completion") and words:
        raise BadInput(f"unexpected argument {shown(words[0])} ({command.prog} --help)")
    elif len(words) > 1:
        raise BadInput(_unexpected(words[1], f"{options.command} {shlex.quote(' '.join(words))}"))
    return options


def _unknown_option(name: str, command: argparse.ArgumentParser) -> str:
    near = difflib.get_close_matches(name, command._option_string_actions, 1)
    hint = f"; did you mean {near[0]}?" if near else f" ({command.prog} --help lists the options)"
    return f"unknown option {visible(name)[:LONGEST_SHOWN]}{hint}"


def _unexpected(word: str, meant: str) -> str:
    return f"unexpected argument {shown(word)}; did you mean `{cut_end(visible(meant), 2 * LONGEST_SHOWN)}`?"


def _settle(options: argparse.Namespace, words: list[str]) -> None:
    """Set which kernel and which code `exec` was given; `words` are neither options nor values of options."""
    if options.code_file == "-":
        options.code_file, options.code_stdin = None, True
    if "-" in words:
        words.remove("-")
        options.code_stdin = True
    given = {"-c": options.code is not None, "-f": options.code_file is not None, "standard input": options.code_stdin}
    sources = [name for name, is_given in given.items() if is_given]
    by_option = [name for name in ("kernel_match", "kernel_id") if getattr(options, name) is not None]
    if words and by_option:
        option = f"--{by_option[0].replace('_', '-')}"
        raise BadInput(f"unexpected argument {shown(words[0])}; {option} names the kernel already")
    if len(words) > 1:
        code = [] if sources else ["-c", " ".join(words[1:])]
        match = " ".join(words) if sources else words[0]
        raise BadInput(_unexpected(words[1], shlex.join(["exec", match, *code])))
    if not sources:
        hint = "Write kernel-bridge exec NAME -c CODE, or -f FILE, or - to read it from standard input"
        raise BadInput(f"nothing to run. {hint}")
    if len(sources) > 1:
        raise BadInput(f"the code is given twice, by {' and '.join(sources)}; give it once")
    if words:
        options.kernel_match = words[0]


def _settle_copy(options: argparse.Namespace, words: list[str]) -> None:
    """Set which kernel, which variable and, for `put`, which file was given."""
    takes = ["match", "name"] if options.command == "get" else ["match", "name", "file"]
    written = f"kernel-bridge {options.command} {' '.join(name.upper() for name in takes)}"
    if len(words) < len(takes):
        what = {"match": "which kernel", "name": "which variable", "file": "which file"}[takes[len(words)]]
        raise BadInput(f"{what}? Write {written}")
    if len(words) > len(takes):
        raise BadInput(f"unexpected argument {shown(words[len(takes)])}. Write {written}")
    for name, word in zip(takes, words, strict=True):
        setattr(options, name, word)
    if options.command == "get" and options.replace and options.output is None:
        raise BadInput("--replace goes with --output FILE")
