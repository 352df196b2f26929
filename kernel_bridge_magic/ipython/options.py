"""The options of the magics, and their help."""

from __future__ import annotations

import functools

from kernel_bridge_magic.choices import IF_BUSY, IF_BUSY_OF_MANY, TRANSPORTS, at_least_one, every, size, timeout
from kernel_bridge_magic.ipython.line_parser import MagicParser
from kernel_bridge_magic.text import Hidden, hide

_MATCH_HELP = """\
MATCH names one kernel; the first of these that fits decides:
  #2                      row of the last %kernels
  3f9c1c0e-...            whole kernel id
  ./kernel-4711.json      a connection file
  work/analysis.ipynb     whole notebook path
  analysis.ipynb          file name
  analysis                file name without its ending
  ir                      kernel name
  3f9c                    beginning of the id, 4 characters or more
  analy                   part of path or name; case and accents do not matter
  re:^work/.*\\.ipynb$     regular expression on path and name
  julia                   part of kernel name, display name or language
SERVER::MATCH searches one server only. In MATCH and option values (not CODE), $name and {expr} are replaced when they
are a whole word. Quote a name with blanks if you like; a # between blanks begins a comment.
"""


_LINK_HELP = """
A lost connection is opened again for 5 minutes, or for as long as c.KernelBridge.reconnect_timeout says (seconds,
"10m", "none"); after that nobody knows how the cell ended. With --durable it is tried for ever. Ctrl-C, or the Stop
button, ends the wait.
"""


def remote_parser() -> MagicParser:
    """Build the parser of %remote. Longer than others, since it is a list of options."""
    parser = MagicParser(
        prog="remote",
        usage="%%remote [options] MATCH, with the code below it, or %remote [options] MATCH CODE",
        description="Run a cell, or one line of code, in another kernel that is already running, or in several.\n"
        "Streams, plots, results and tracebacks appear here.",
        epilog=_MATCH_HELP + _LINK_HELP + "\nexamples:\n  %%remote analysis\n  df.describe()\n\n"
        "  x = %remote analysis len(df)\n  %%remote -s lab --timeout 5m train.ipynb\n  fit(model)\n\n"
        "  %%remote --all students\n  %%remote north,south\n  %%remote --all 'n*'\n"
        "  x = %remote --all students score(model)\n  %%remote --bg train.ipynb\n"
        "  %%remote -i threshold -o df,n=count analysis\n",
    )
    parser.add_argument("-s", "--server", type=hide, metavar="NAME|URL", help="only that server")
    bound = "bind the outcome to this name: a RemoteResult, a RemoteResults of several kernels, a RemoteJob"
    parser.add_argument("--result", metavar="NAME", help=bound)
    stops = "stop waiting after that long (30, 5m), for each kernel; the code keeps running there"
    parser.add_argument("--timeout", metavar="SECONDS", type=timeout, help=stops)
    goes_on = (
        "return at once with a RemoteJob; its output keeps coming below this cell (%%jobs lists jobs); for one kernel"
    )
    parser.add_argument("--bg", action="store_true", help=goes_on)
    every = "run on every kernel that matches, at the same time; a list a,b,c needs no --all"
    parser.add_argument("--all", action="store_true", help=every)
    at_once = "with several kernels: run on so many at the same time (default: 64)"
    parser.add_argument("-j", "--at-once", metavar="N", type=at_least_one, default=None, help=at_once)
    alone = "with several kernels: show each one's output by itself, also where it is equal"
    parser.add_argument("--no-group", action="store_true", help=alone)
    asks = "do not ask before a cell runs on more than ten kernels, or on several servers"
    parser.add_argument("--yes", action="store_true", help=asks)
    busy = "if the kernel is busy: wait (default), fail, skip it (with several), or run beside it (ipykernel 7)"
    parser.add_argument("--if-busy", metavar="|".join(IF_BUSY_OF_MANY), choices=IF_BUSY_OF_MANY, help=busy)
    _add_of_any_cell(parser)
    there = "bind these variables of here in the other kernel before the cell runs: a,b or NEW=OLD"
    parser.add_argument("-i", action="append", metavar="NAMES", help=there)
    here = "bind these variables of the other kernel here once the cell has ended well; of several kernels, dicts"
    parser.add_argument("-o", action="append", metavar="NAMES", help=here)
    most = "how large they may be in all (500MB, 2GB; default: 1GB); above that you are asked, or it is refused"
    parser.add_argument("--max-size", metavar="SIZE", type=size, help=most)
    pickles = "pickle what is refused otherwise; only for kernels that are yours, since a pickle can run anything"
    parser.add_argument("--pickle", action="store_true", help=pickles)
    parser.add_argument("-q", "--quiet", action="store_true", help="do not say which kernel is meant")
    return parser


def _add_of_any_cell(parser: MagicParser) -> None:
    """Add the options that a cell has as well as every cell of `%autoremote`."""
    parser.add_argument("--no-raise-error", action="store_true", help="show a remote error, but let this cell succeed")
    parser.add_argument("--history", action="store_true", help="keep the code in the other kernel's In and Out")
    names = "|".join(TRANSPORTS)
    how = "how to connect (default: auto)"
    parser.add_argument("--transport", metavar=names, choices=TRANSPORTS, default="auto", help=how)
    keeps = "keep the output there until it has arrived here (ipykernel 7 or newer)"
    parser.add_argument("--durable", action="store_true", help=keeps)


#: options of %remote for which no cell but one of its own is the place
_OF_ONE_CELL = (
    *("-i", "-o", "--result", "--max-size", "--pickle", "--bg"),
    *("--all", "-j", "--at-once", "--no-group", "--yes"),
)


def autoremote_parser() -> MagicParser:
    """Build the parser of %autoremote: the options of %remote that make sense for every cell."""
    parser = MagicParser(
        prog="autoremote",
        usage="%autoremote [options] MATCH, %autoremote, or %autoremote off",
        description="Run every following cell in another kernel, as if it began with %%remote MATCH, until\n"
        "%autoremote off. Without MATCH it says where cells run now. %%local runs one cell here.",
        epilog="examples:\n  %autoremote north\n  %autoremote\n  %autoremote off\n",
        refused={name: f"{name} is for one cell: write %%remote {name} above it" for name in _OF_ONE_CELL},
    )
    parser.add_argument("-s", "--server", type=hide, metavar="NAME|URL", help="only that server")
    stops = "stop waiting for a cell after that long (30, 5m); the code keeps running there"
    parser.add_argument("--timeout", metavar="SECONDS", type=timeout, help=stops)
    busy = "if the kernel is busy: wait (default), fail, or run beside it (ipykernel 7)"
    parser.add_argument("--if-busy", metavar="|".join(IF_BUSY), choices=IF_BUSY, help=busy)
    _add_of_any_cell(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="put no mark at the outputs of the other kernel")
    return parser


def kernels_parser() -> MagicParser:
    """Build the parser of %kernels."""
    parser = MagicParser(
        prog="kernels",
        usage="%kernels [options] [MATCH], or %kernels --follow MATCH\n"
        "       %kernels --interrupt MATCH | --restart MATCH | --shutdown MATCH\n"
        "       %kernels --start NOTEBOOK|KIND [--name NAME] [-s SERVER]",
        description="List every running kernel that can be reached, or only kernels that match; or do something with\n"
        "one of them.",
        epilog="--restart and --shutdown ask first. They take a whole name: a row (#2), an id, a path, or a file\n"
        "name, with or without its ending.\n\n"
        "examples:\n  %kernels\n  %kernels analysis\n  ks = %kernels\n  %kernels --watch 5\n"
        "  %kernels --follow north\n  %kernels --restart north\n  %kernels --start python3 --name scratch\n",
    )
    parser.add_argument("-s", "--server", type=hide, metavar="NAME|URL", help="only that server")
    parser.add_argument("-v", "--verbose", action="store_true", help="whole ids, URLs, processes (memory, CPU, start)")
    again = "list again every so many seconds (default: 2), in place, until interrupted"
    parser.add_argument("--watch", nargs="?", type=every, const=2.0, metavar="SECONDS", help=again)
    mirrors = "show what others run in the kernel that MATCH means, input and output, until interrupted; read only"
    does = parser.add_mutually_exclusive_group()
    does.add_argument("--follow", action="store_true", help=mirrors)
    does.add_argument("--interrupt", action="store_true", help="interrupt what that kernel runs, whoever began it")
    does.add_argument("--restart", action="store_true", help="restart that kernel; its variables are gone")
    does.add_argument("--shutdown", action="store_true", help="shut that kernel down; its variables are gone")
    starts = "start a kernel for a notebook, or of a kind (python3): on a server, or as a child of this shell"
    does.add_argument("--start", action="store_true", help=starts)
    found = "with --start: what the kernel is found as, %%%%remote NAME"
    parser.add_argument("--name", metavar="NAME", default="", help=found)
    parser.add_argument("--yes", action="store_true", help="do not ask before --restart and --shutdown")
    return parser


#: the magics whose line names a kernel
TAKES_MATCH = frozenset({"remote", "kernels", "autoremote"})


@functools.cache
def parser_of(name: str) -> MagicParser | None:
    """Return the parser of one of our magics, by its name; None for another one."""
    makers = {
        "remote": remote_parser,
        "kernels": kernels_parser,
        "servers": servers_parser,
        "jobs": jobs_parser,
        "autoremote": autoremote_parser,
    }
    return makers[name]() if name in makers else None


def jobs_parser() -> MagicParser:
    """Build the parser of %jobs."""
    parser = MagicParser(
        prog="jobs",
        usage="%jobs, or %jobs N [--output | --wait | --stop]",
        description="List the background jobs that %%remote --bg has begun here, or do something with job N.",
        epilog="examples:\n  %jobs\n  %jobs 3 --output\n",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--output", action="store_true", help="show what it has shown so far")
    what.add_argument(
        "--wait", action="store_true", help="wait until it is over; raise its error. An interrupt ends the wait"
    )
    stops = "interrupt it; a second time: stop waiting for it, and leave it running there"
    what.add_argument("--stop", action="store_true", help=stops)
    return parser


def servers_parser() -> MagicParser:
    """Build the parser of %servers."""
    parser = MagicParser(
        prog="servers",
        usage="%servers [--add URL [--name NAME] [--token REF | --password REF] [--ca-file FILE] [--trust] [--save]]"
        "\n       %servers --check [NAME|URL]\n       %servers --remove NAME",
        description="List the servers that are known, add one, or remove one.",
        epilog=_SERVERS_HELP,
    )
    parser.add_argument("--add", type=hide, metavar="URL", help="add this server, for this notebook or terminal")
    parser.add_argument("--name", metavar="NAME", default="", help="a short name for it")
    secret = parser.add_mutually_exclusive_group()
    where = "where to read its token; never the token itself"
    secret.add_argument("--token", type=Hidden, metavar=_REFERENCE, default="", help=where)
    secret.add_argument("--password", type=Hidden, metavar=_REFERENCE, default="", help="where to read its password")
    parser.add_argument("--ca-file", metavar="FILE", default="", help="CA certificate (PEM)")
    parser.add_argument("--trust", action="store_true", help="it is yours: do not sandbox its output")
    plain = "allow sending the token or password unencrypted to another machine"
    parser.add_argument("--allow-plain-http", action="store_true", help=plain)
    parser.add_argument("--save", action="store_true", help="keep it for all notebooks, terminals and the command line")
    parser.add_argument("--remove", metavar="NAME", help="remove a server, also where it was saved")
    parser.add_argument("--check", action="store_true", help="check step by step what works, for NAME, a URL, or all")
    return parser


_REFERENCE = "env:VAR|file:PATH|ask"
_SERVERS_HELP = """\
--save writes kernel_bridge.json in the Jupyter config directory. It holds where to read a secret, never the secret.
The same can be written in ipython_config.py:
  c.KernelBridge.servers = {"lab": {"url": "https://lab.example/", "token": "env:LAB_TOKEN", "ca_file": "/etc/ca.pem"}}

examples:
  %servers
  %servers --add https://lab.example/ --name lab --token env:LAB_TOKEN --save
  %servers --check lab
"""
