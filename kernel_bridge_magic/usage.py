"""What the magics take, and how their help reads."""

from __future__ import annotations

from kernel_bridge_magic.options import MagicParser, seconds

TRANSPORTS = ("auto", "zmq", "ws")

__all__ = ["TRANSPORTS", "kernels_parser", "remote_parser", "servers_parser"]

_MATCH_HELP = """\
MATCH names one kernel; the first of these that fits decides:
  #2                      row of the last %kernels
  3f9c1c0e-...            whole kernel id
  work/analysis.ipynb     whole notebook path
  analysis.ipynb          file name
  analysis                file name without its ending
  ir                      kernel name
  3f9c                    beginning of the id, 4 characters or more
  analy                   part of path or name, any case
  re:^work/.*\\.ipynb$     regular expression on path and name
  julia                   part of kernel name, display name or language
SERVER::MATCH keeps to one server. $name and {expr} are replaced when they are a whole word.
"""


def remote_parser() -> MagicParser:
    """The options of %remote."""
    parser = MagicParser(
        prog="remote",
        usage="%%remote [options] MATCH  and a body,  or  %remote [options] MATCH CODE",
        description="Run a cell, or one line of code, in another kernel that is already running.\n"
        "Streams, plots, results and tracebacks appear here.",
        epilog=_MATCH_HELP + "\nexamples:\n  %%remote analysis\n  df.describe()\n\n"
        "  x = %remote analysis len(df)\n  %%remote -s lab --timeout 5m train.ipynb\n  fit(model)\n",
    )
    parser.add_argument("-s", "--server", metavar="NAME|URL", help="only that server")
    parser.add_argument("--result", metavar="NAME", help="bind the outcome, a RemoteResult, to this name")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=seconds, help="stop waiting then (30, 5m); it runs on there"
    )
    parser.add_argument("--no-raise-error", action="store_true", help="show a remote error, but let this cell succeed")
    parser.add_argument("--history", action="store_true", help="count in the other kernel's In and Out")
    parser.add_argument("--transport", metavar="|".join(TRANSPORTS), choices=TRANSPORTS, default="auto")
    parser.add_argument("-q", "--quiet", action="store_true", help="no notes of ours")
    return parser


def kernels_parser() -> MagicParser:
    """The options of %kernels."""
    parser = MagicParser(
        prog="kernels",
        usage="%kernels [options] [MATCH]",
        description="List every kernel in reach, or those that MATCH could mean.",
        epilog="examples:\n  %kernels\n  %kernels analysis\n  ks = %kernels\n",
    )
    parser.add_argument("-s", "--server", metavar="NAME|URL", help="only that server")
    parser.add_argument("-v", "--verbose", action="store_true", help="whole ids, URLs, transports")
    return parser


def servers_parser() -> MagicParser:
    """The options of %servers."""
    parser = MagicParser(
        prog="servers",
        usage="%servers [--add URL [--name NAME] [--token env:VAR|file:PATH|ask] [--trust]] [--remove NAME]",
        description="List the servers we know, or add one for this process.",
        epilog="examples:\n  %servers\n  %servers --add https://lab.example/ --name lab --token env:LAB_TOKEN\n",
    )
    parser.add_argument("--add", metavar="URL", help="remember this server")
    parser.add_argument("--name", metavar="NAME", default="", help="what it is called here")
    parser.add_argument(
        "--token", metavar="env:VAR|file:PATH|ask", default="", help="where its token is; never the token"
    )
    parser.add_argument("--trust", action="store_true", help="it is one's own: show its output as it is")
    parser.add_argument("--remove", metavar="NAME", help="forget an added server")
    return parser
