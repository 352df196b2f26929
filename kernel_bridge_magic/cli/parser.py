"""The parser of `kernel-bridge`: commands, options, and their help."""

from __future__ import annotations

import argparse
import difflib
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import kernel_bridge_magic
from kernel_bridge_magic.choices import IF_BUSY_OF_MANY, RECONNECT, TRANSPORTS, at_least_one, seconds, size, timeout
from kernel_bridge_magic.errors import BadInput
from kernel_bridge_magic.text import Hidden, cut_end, hide, visible

_EXAMPLES = """\
examples:
  kernel-bridge list
  kernel-bridge exec analysis -c "df.shape"
  kernel-bridge exec analysis -f job.py --json --timeout 5m
  kernel-bridge exec --all students -c "score" --json
  cat job.py | kernel-bridge exec "re:^work/" -
  kernel-bridge exec --base-url http://localhost:8888 --token env:TOKEN --kernel-id ID --code-file job.py
  kernel-bridge get analysis df --output df.arrow
  kernel-bridge put analysis limits limits.json
  kernel-bridge interrupt analysis
  kernel-bridge restart analysis --yes
  kernel-bridge servers --add https://lab.example/ --name lab --token env:LAB_TOKEN
  kernel-bridge servers --check http://localhost:8888/ --token env:TOKEN
  kernel-bridge demo

exit status:
  0    ok, also of Python code that ends with sys.exit(0)
  1    the code raised an error
  2    nothing was run or copied: usage, no such kernel or variable, several of them, a busy one, no connection
  3    the kernel died, the outcome is unknown, a copy broke off, or the output could not be written
  124  no result within --timeout; the code keeps running there
  130  interrupted (Ctrl-C)
  141  whoever read the output has gone
  129, 143  told to end by SIGHUP or SIGTERM; the code keeps running there
Of several kernels it is the first of 3, 1, 124, 130 that one of them came to; 2 if the code ran on none of them.
"""
_INSTALL = """\
to install:
  bash  write this at the end of ~/.bashrc:                  eval "$(kernel-bridge completion bash)"
  zsh   write this at the end of ~/.zshrc, behind compinit:  eval "$(kernel-bridge completion zsh)"
Then open a new shell. A Tab where a kernel's name belongs looks for kernels, for about a second at most.
"""
_MATCH = (
    "a notebook's name or path or a part of it, a kernel name, the beginning of an id, or re:PATTERN; "
    "SERVER::MATCH searches one server only"
)
LONGEST_SHOWN = 60  # characters of a word that was not expected


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line: what is wrong, then what to do."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

    def error(self, message: str) -> NoReturn:
        line = " ".join(message.split())
        about = re.fullmatch(r"argument (\S+): (.*)", line)
        name, problem = about.groups() if about else ("", line)
        if other := re.fullmatch(r"not allowed with argument (\S+)", problem):
            problem = f"{other[1]} and {name} cannot be given together"
        elif problem.startswith("expected one argument"):
            problem = f"{name} needs a value ({self.prog} --help)"
        elif problem.startswith("ignored explicit argument"):
            problem = f"{name} takes no value"
        elif name and name not in problem:
            problem = f"{problem} ({name})"
        raise BadInput(problem[:300])

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        if isinstance(action, argparse._SubParsersAction):
            raise BadInput(f"unknown command {shown(value)}; did you mean `{_like_a_command(value, action.choices)}`?")
        *most, last = action.choices
        raise BadInput(
            f"{'/'.join(action.option_strings) or self.prog} takes {', '.join(most)} or {last}, not {shown(value)}"
        )


def _like_a_command(word: str, commands: Mapping[str, Any]) -> str:
    """Return the command with a similar name; if there is none, `exec` with the word as a kernel's name."""
    near = difflib.get_close_matches(word, commands, 1)
    return near[0] if near else f"exec {shlex.quote(cut_end(visible(word), LONGEST_SHOWN))} -c CODE"


def shown(word: str) -> str:
    """Return a word of the user's as an error text has it."""
    return f"'{cut_end(visible(word), LONGEST_SHOWN)}'"


def parser_and_commands() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Build the parser, and that of each command."""
    about = "Run code in a Jupyter kernel that is already running."
    parser = _Parser(prog="kernel-bridge", description=about, epilog=_EXAMPLES)
    parser.add_argument("--version", action="version", version=f"kernel-bridge {kernel_bridge_magic.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    for add in (_add_list, _add_exec, _add_get, _add_put, _add_life, _add_servers, _add_demo, _add_completion):
        add(commands.add_parser)
    return parser, dict(commands.choices)


_Add = Callable[..., _Parser]


def _add_list(add: _Add) -> None:
    listing = add("list", help="list the kernels in reach", description="List the kernels in reach.")
    listing.add_argument("match", nargs="?", default="", metavar="MATCH", help="only kernels that match")
    _add_server(listing)
    listing.add_argument("-v", "--verbose", action="store_true", help="whole ids, URLs, processes, skipped files")


def _add_exec(add: _Add) -> None:
    """Add the command `exec`. Longer than others, since it is a list of options."""
    execute = add(
        "exec",
        help="run code in a kernel, or in several",
        usage="kernel-bridge exec [MATCH | --all MATCH | A,B,C] (-c CODE | -f FILE | -) [options]",
        description="Run code in one kernel, or in several at the same time, and show its output as it is printed.\n"
        "Without MATCH it is the only kernel there is.",
        epilog=_EXAMPLES,
    )
    execute.add_argument("match", nargs="?", metavar="MATCH", help=_MATCH)
    execute.add_argument("-c", "--code", metavar="CODE", help="the code itself")
    execute.add_argument("-f", "--code-file", metavar="FILE", help="a file with the code, UTF-8; - is standard input")
    execute.add_argument("--code-stdin", action="store_true", help="read the code from standard input: the same as -")
    target = execute.add_mutually_exclusive_group()
    target.add_argument("--kernel-match", metavar="MATCH", help="the same as MATCH")
    target.add_argument("--kernel-id", metavar="ID", help="a whole kernel id")
    _add_server(execute)
    stops = "stop waiting after so long (30, 5m), for each kernel; the code keeps running there"
    execute.add_argument("--timeout", metavar="SECONDS", type=timeout, help=stops)
    waits = "how long to wait for a lost connection (default: 5m), or none; then the outcome is unknown"
    execute.add_argument("--reconnect-timeout", metavar="SECONDS", type=seconds, default=RECONNECT, help=waits)
    execute.add_argument("--transport", choices=TRANSPORTS, default="auto", help="how to connect to the kernel")
    every = "run on every kernel that matches, at the same time; a list a,b,c needs no --all"
    execute.add_argument("--all", action="store_true", help=every)
    at_once = "with several kernels: run on so many at the same time (default: 64)"
    execute.add_argument("-j", "--at-once", metavar="N", type=at_least_one, help=at_once)
    alone = "with several kernels: show each one's output by itself, also where it is equal"
    execute.add_argument("--no-group", action="store_true", help=alone)
    asks = "do not ask before code runs on more than ten kernels, or on several servers"
    execute.add_argument("--yes", action="store_true", help=asks)
    busy = "while a kernel runs something else: wait for it, fail, skip it (with several), or run beside it"
    execute.add_argument("--if-busy", choices=IF_BUSY_OF_MANY, help=busy)
    execute.add_argument("--history", action="store_true", help="count the code in the other kernel's In and Out")
    keeps = "keep the output there until it has arrived here (ipykernel 7 or newer)"
    execute.add_argument("--durable", action="store_true", help=keeps)


def _add_get(add: _Add) -> None:
    get = add(
        "get",
        help="copy a variable of a kernel here",
        usage="kernel-bridge get MATCH NAME [--output FILE] [options]",
        description="Copy a variable of a kernel here, and print it as JSON or write it to a file.",
    )
    _add_variable(get)
    kinds = "write it to a file that ends in .json, .npy, .arrow, .csv, .png or .txt"
    get.add_argument("-o", "--output", metavar="FILE", help=kinds)
    get.add_argument("--replace", action="store_true", help="replace a file that exists")
    _add_copy(get)


def _add_put(add: _Add) -> None:
    put = add(
        "put",
        help="copy the content of a file to a kernel, as a variable",
        usage="kernel-bridge put MATCH NAME (FILE | -) [options]",
        description="Copy the content of a file to a kernel, as a variable.",
    )
    _add_variable(put)
    kinds = "it ends in .json, .npy, .arrow, .csv, .png or .txt; - is JSON from standard input"
    put.add_argument("file", nargs="?", default=argparse.SUPPRESS, metavar="FILE", help=kinds)
    _add_copy(put)


def _add_variable(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("match", nargs="?", metavar="MATCH", help=_MATCH)
    name = "the variable's name there (behind MATCH)"
    parser.add_argument("name", nargs="?", default=argparse.SUPPRESS, metavar="NAME", help=name)


def _add_copy(parser: argparse.ArgumentParser) -> None:
    """Add the options of every copy."""
    _add_server(parser)
    most = "copy no more than this, 500MB or 1GB (default: 1GB); in a terminal you are asked"
    parser.add_argument("--max-size", metavar="SIZE", type=size, default=10**9, help=most)
    pickles = "pickle what no format knows; only for kernels that are yours"
    parser.add_argument("--pickle", action="store_true", help=pickles)
    stops = "stop waiting after so long (30, 5m)"
    parser.add_argument("--timeout", metavar="SECONDS", type=timeout, help=stops)
    how = "how to copy; auto takes a file in memory where the kernel is on this machine"
    parser.add_argument("--transport", choices=TRANSPORTS, default="auto", help=how)


def _add_life(add: _Add) -> None:
    """Add the commands for a kernel as a whole."""
    does = "interrupt what a kernel runs"
    interrupt = add("interrupt", help=does, description="Interrupt what a kernel runs, whoever began it.")
    interrupt.add_argument("match", nargs="?", metavar="MATCH", help=_MATCH)
    _add_server(interrupt)
    whole = "a notebook's whole path or name, with or without its ending, or a whole id"
    for command, does in (("restart", "restart a kernel"), ("shutdown", "shut a kernel down")):
        about = f"{does[0].upper()}{does[1:]}; its variables are gone. You are asked first."
        parser = add(command, help=f"{does}; its variables are gone", description=about)
        parser.add_argument("match", nargs="?", metavar="MATCH", help=whole)
        parser.add_argument("--yes", action="store_true", help="do not ask")
        _add_server(parser)
    starts = "start a kernel on a server, for a notebook or of a kind"
    usage = "kernel-bridge start (NOTEBOOK | KIND) [--name NAME] [options]"
    parser = add("start", help=starts, usage=usage, description=f"{starts[0].upper()}{starts[1:]}.")
    kind = "a notebook's path from the server's root (work/north.ipynb), or a kernel's kind (python3)"
    parser.add_argument("match", nargs="?", metavar="NOTEBOOK|KIND", help=kind)
    parser.add_argument("--name", metavar="NAME", default="", help="what the kernel is found as")
    _add_server(parser)


def _add_servers(add: _Add) -> None:
    servers = add(
        "servers",
        help="list the servers that are known; add, remove or check one",
        description="List the servers that are known. One that is added is saved, in kernel_bridge.json in the\n"
        "Jupyter config directory, for notebooks, terminals and the command line.",
    )
    what = servers.add_mutually_exclusive_group()
    saves = "save this server; --token and --password say where its secret is"
    what.add_argument("--add", type=hide, metavar="URL", help=saves)
    what.add_argument("--remove", metavar="NAME", help="forget a server that was added")
    says = "say step by step what works: of one, or of all"
    what.add_argument("--check", nargs="?", const="", type=hide, metavar="NAME|URL", help=says)
    servers.add_argument("--name", metavar="NAME", default="", help="with --add: what the server is called")
    servers.add_argument("--trust", action="store_true", help="with --add: it is yours: do not sandbox its output")
    _add_server(servers)


def _add_demo(add: _Add) -> None:
    demo = add("demo", help="see it at work: a private server, two kernels, everything included")
    demo.add_argument("--no-shell", action="store_true", help="do not end in an IPython prompt")


def _add_completion(add: _Add) -> None:
    completion = add(
        "completion",
        help="print a script with which bash or zsh completes kernel-bridge",
        usage="kernel-bridge completion (bash | zsh)",
        description="Print a script with which a shell completes commands, options, files and the names of kernels.",
        epilog=_INSTALL,
    )
    completion.add_argument("shell", nargs="?", choices=("bash", "zsh"), metavar="SHELL", help="bash or zsh")
    for names in ("--kernels", "--servers"):  # the script asks for them
        completion.add_argument(names, metavar="TYPED", help=argparse.SUPPRESS)


def _add_server(parser: argparse.ArgumentParser) -> None:
    only = "only this server; without it, those that are discovered or saved"
    parser.add_argument("--base-url", type=hide, metavar="URL", help=only)
    secret = parser.add_mutually_exclusive_group()
    for what in ("token", "password"):
        where = f"env:VAR, file:PATH, ask, or the {what} itself"
        secret.add_argument(f"--{what}", type=Hidden, metavar=what.upper(), help=where)
    parser.add_argument("--ca-file", metavar="FILE", default="", help="CA certificate (PEM)")
    plain = "send the secret unencrypted to another machine"
    parser.add_argument("--allow-plain-http", action="store_true", help=plain)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
