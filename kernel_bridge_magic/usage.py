"""What the magics take, and how their help reads."""

from __future__ import annotations

from kernel_bridge_magic.options import MagicParser, seconds
from kernel_bridge_magic.text import Hidden, hide

TRANSPORTS = ("auto", "zmq", "ws")
IF_BUSY = ("wait", "fail", "subshell")

__all__ = ["IF_BUSY", "TRANSPORTS", "kernels_parser", "remote_parser", "servers_parser"]

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


_LINK_HELP = """
A link that is lost is opened again for 5 minutes, or as c.KernelBridge.reconnect_timeout says (seconds, "10m",
"none"); then the end of the cell is unknown. With --durable it is waited for without an end. Ctrl-C ends the wait.
"""


def remote_parser() -> MagicParser:
    """The options of %remote."""
    parser = MagicParser(
        prog="remote",
        usage="%%remote [options] MATCH  and a body,  or  %remote [options] MATCH CODE",
        description="Run a cell, or one line of code, in another kernel that is already running.\n"
        "Streams, plots, results and tracebacks appear here.",
        epilog=_MATCH_HELP + _LINK_HELP + "\nexamples:\n  %%remote analysis\n  df.describe()\n\n"
        "  x = %remote analysis len(df)\n  %%remote -s lab --timeout 5m train.ipynb\n  fit(model)\n",
    )
    parser.add_argument("-s", "--server", type=hide, metavar="NAME|URL", help="only that server")
    parser.add_argument("--result", metavar="NAME", help="bind the outcome, a RemoteResult, to this name")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=seconds, help="stop waiting then (30, 5m); it runs on there"
    )
    parser.add_argument(
        "--if-busy",
        metavar="|".join(IF_BUSY),
        choices=IF_BUSY,
        default="wait",
        help="if it runs something else: wait for it (default), fail, or run beside it (ipykernel 7)",
    )
    parser.add_argument("--no-raise-error", action="store_true", help="show a remote error, but let this cell succeed")
    parser.add_argument("--history", action="store_true", help="count in the other kernel's In and Out")
    parser.add_argument("--transport", metavar="|".join(TRANSPORTS), choices=TRANSPORTS, default="auto")
    parser.add_argument(
        "--durable", action="store_true", help="keep the output there until we have it (ipykernel 7 or newer)"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="do not say which kernel is meant")
    return parser


def kernels_parser() -> MagicParser:
    """The options of %kernels."""
    parser = MagicParser(
        prog="kernels",
        usage="%kernels [options] [MATCH]",
        description="List every kernel in reach, or those that MATCH could mean.",
        epilog="examples:\n  %kernels\n  %kernels analysis\n  ks = %kernels\n",
    )
    parser.add_argument("-s", "--server", type=hide, metavar="NAME|URL", help="only that server")
    parser.add_argument("-v", "--verbose", action="store_true", help="whole ids, URLs, transports")
    return parser


def servers_parser() -> MagicParser:
    """The options of %servers."""
    parser = MagicParser(
        prog="servers",
        usage="%servers [--add URL [--name NAME] [--token REF | --password REF] [--ca-file FILE] [--trust] [--save]]"
        "\n       %servers --check [NAME|URL]\n       %servers --remove NAME",
        description="List the servers we know, add one, or forget one.",
        epilog=_SERVERS_HELP,
    )
    parser.add_argument("--add", type=hide, metavar="URL", help="remember this server for this process")
    parser.add_argument("--name", metavar="NAME", default="", help="what it is called here")
    secret = parser.add_mutually_exclusive_group()
    secret.add_argument(
        "--token", type=Hidden, metavar=_REFERENCE, default="", help="where its token is; never the token"
    )
    secret.add_argument(
        "--password", type=Hidden, metavar=_REFERENCE, default="", help="where the password of its login is"
    )
    parser.add_argument("--ca-file", metavar="FILE", default="", help="PEM file of who signed its certificate")
    parser.add_argument("--trust", action="store_true", help="it is one's own: show its output as it is")
    parser.add_argument(
        "--allow-plain-http", action="store_true", help="send its secret unencrypted to another machine"
    )
    parser.add_argument("--save", action="store_true", help="keep it for notebooks, terminals and the command line")
    parser.add_argument("--remove", metavar="NAME", help="forget a server, also where it was saved")
    parser.add_argument("--check", action="store_true", help="say step by step what works: NAME, URL, or all")
    return parser


_REFERENCE = "env:VAR|file:PATH|ask"
_SERVERS_HELP = """\
--save writes kernel_bridge.json in the Jupyter config directory: where a secret is, never the secret. The same can
stand in ipython_config.py:
  c.KernelBridge.servers = {"lab": {"url": "https://lab.example/", "token": "env:LAB_TOKEN", "ca_file": "/etc/ca.pem"}}

examples:
  %servers
  %servers --add https://lab.example/ --name lab --token env:LAB_TOKEN --save
  %servers --check lab
"""
