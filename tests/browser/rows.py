"""What must look the same whether it runs here or in another kernel: each row is run both ways in every front end.

A row is a few cells. The line `%%there` at the top of a cell stands for `%%remote MATCH`; run natively it is taken
away, with `there(code)` running a text in the same way. Cells without it are local in both runs.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["FRONTS", "MAGIC", "ROWS", "STOP", "Row"]

#: the front ends, as the table of notebooks/tried-with.md names them
FRONTS = ("JupyterLab", "Notebook 7", "terminal", "nbclient")
MAGIC = "%%there"
STOP = "\0stop"


@dataclass(frozen=True)
class Row:
    """What is shown of one thing, run natively and there.

    Args:
        name: what the table calls it.
        cells: the cells; the last one's text must hold `shows`.
        shows: a regular expression that the text of all cells, joined, must hold: so that two empty cells are not
            taken for two equal ones.
        kernel: the kernelspec that runs it.
        answers: what the first cell asks, and what is typed then; `STOP` interrupts instead.
        natively: other cells that show natively what these must show there.
        instead: for a front end, a regular expression of what its cells show where the native look is not to be
            had there, and why, for the table.
        drawn: a regular expression that the page's HTML must hold.
        named: in a terminal a line of ours says which kernel it is of; a notebook's cell shows what the kernel sent.
        later: the last cell shows `shows` only after it is done.
    """

    name: str
    cells: Sequence[str]
    shows: str
    kernel: str = "python3"
    answers: Sequence[tuple[str, str]] = ()
    natively: Sequence[str] = ()
    instead: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    drawn: str = ""
    named: bool = False
    later: bool = False


def _picture(red: int) -> str:
    """A PNG of 4 by 2 pixels, in base64."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes([red, 0, 0] * 4) for _ in range(2))
    head = struct.pack(">IIBBBBB", 4, 2, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return base64.b64encode(png).decode()


def _there(*lines: str) -> str:
    return "\n".join((MAGIC, *lines))


def _raw(mime: str, value: str) -> str:
    """A cell that shows a MIME bundle as it is."""
    return _there(
        "from IPython.display import display",
        f"display({{{mime!r}: {value},",
        " 'text/plain': 'the text'},",
        " raw=True)",
    )


def _everywhere(pattern: str, why: str) -> dict[str, tuple[str, str]]:
    return dict.fromkeys(FRONTS, (pattern, why))


_DROPPED = "beginning and end, and all of it in a file; natively the server drops most of it"
_AGAIN = "the error is named once more at the end: an error of this cell, so that Run All stops"
_TERMINAL_MIME = {"terminal": ("the text", "a terminal shows the text")}
_NO_WIDGETS = "a terminal has no widgets: their text, drawn anew as it changes"
_LATE_NATIVELY = "natively nbclient loses what Deno sends late"
_NO_NATIVE = "IPython's terminal runs no such kernel natively: what the kernel sent"
_PLOTLY = "{'data': [{'y': [1, 3]}], 'layout': {}}"
_VEGA = (
    "{'$schema': 'https://vega.github.io/schema/vega-lite/v5.json',\n"
    " 'data': {'values': [{'a': 1}, {'a': 2}]}, 'mark': 'bar',\n"
    " 'encoding': {'y': {'field': 'a', 'type': 'quantitative'}}}"
)

ROWS: tuple[Row, ...] = (
    # -- streams
    Row(
        "stdout and stderr, interleaved",
        [
            _there(
                "import sys",
                "for n in range(3):",
                "    print('out', n, flush=True)",
                "    print('err', n, file=sys.stderr, flush=True)",
            )
        ],
        r"out 0\s+err 0\s+out 1\s+err 1\s+out 2\s+err 2",
    ),
    Row(
        "partial lines",
        [
            _there(
                "import time",
                "for part in ('one', ' two', ' three\\n'):",
                "    print(part, end='', flush=True)",
                "    time.sleep(0.02)",
            )
        ],
        r"one two three",
    ),
    Row(
        "`\\r`, `\\b` and colours",
        [
            _there(
                r"print('\x1b[31mred\x1b[0m', 'x\b', end='')",
                r"for n in range(4):",
                r"    print(f'\rstep {n}', end='', flush=True)",
            )
        ],
        r"step 3",
    ),
    Row(
        "a warning, and logging",
        [_there("import logging, warnings", "warnings.warn('look out')", "logging.warning('logged')")],
        r"UserWarning: look out[\s\S]*logged",
        instead={"terminal": (r"py:2: UserWarning: look out[\s\S]*WARNING:root:logged", "its path is there")},
    ),
    Row("output of a child process", [_there("!echo said by echo")], r"said by echo"),
    # -- progress
    Row(
        "tqdm",
        [_there("from tqdm import tqdm", "for n in tqdm(range(3), mininterval=0):", "    pass")],
        r"100%\|█+\| 3/3",
        instead={"terminal": (r"^100%\|█+\| 3/3", "as wide as the other kernel thinks that its terminal is")},
    ),
    Row(
        "tqdm.notebook",
        [_there("from tqdm.notebook import tqdm", "for n in tqdm(range(3), mininterval=0):", "    pass")],
        r"100%[\s\S]*3/3",
        instead={"terminal": (r"100%\|█+\| 3/3", _NO_WIDGETS)},
    ),
    Row(
        "rich.progress",
        [_there("from rich.progress import track", "for n in track(range(3), 'at work'):", "    pass")],
        r"at work ━+ +100%",
        instead={"terminal": (r"^at work ━+ +100% \S+$", _NO_WIDGETS)},
    ),
    # -- displays
    Row(
        "HTML",
        [_there("from IPython.display import HTML", "HTML('<b>bold</b> <i>text</i>')")],
        r"bold text|IPython.core.display.HTML",
    ),
    Row(
        "Markdown",
        [_there("from IPython.display import Markdown", "Markdown('# Head\\n\\n* item **bold**')")],
        r"Head[\s\S]*item bold|IPython.core.display.Markdown",
    ),
    Row(
        "LaTeX",
        [_there("from IPython.display import Math", r"Math(r'\frac{a}{b}')")],
        r"𝑎\s*𝑏|a\s*b|IPython.core.display.Math",
    ),
    Row(
        "SVG",
        [
            _there(
                "from IPython.display import SVG",
                "SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"'",
                '    \' width="9" height="9"><circle r="9"/></svg>\')',
            )
        ],
        r"",
        drawn="<svg|<img",
    ),
    Row(
        "JSON", [_there("from IPython.display import JSON", "JSON({'key': [1, 2]})")], r"key|IPython.core.display.JSON"
    ),
    Row(
        "JavaScript",
        [_there("from IPython.display import Javascript", "Javascript('element.append(\"written\")')")],
        r"written|IPython.core.display.Javascript",
    ),
    Row("plotly's MIME type", [_raw("application/vnd.plotly.v1+json", _PLOTLY)], r"the text", instead=_TERMINAL_MIME),
    Row(
        "Vega-Lite's MIME type",
        [_raw("application/vnd.vegalite.v5+json", _VEGA)],
        r"",
        drawn="<svg|<canvas",
        instead=_TERMINAL_MIME,
    ),
    Row(
        "a picture, with its width",
        [
            _there(
                "import base64",
                "from IPython.display import Image",
                f"Image(base64.b64decode({_picture(200)!r}),",
                "      width=37)",
            )
        ],
        r"",
        drawn="<img[^>]*width=.37",
    ),
    Row(
        "nested metadata",
        [
            _there(
                "display({'image/png': " + repr(_picture(90)) + ",",
                "         'text/plain': 'a picture'},",
                "        metadata={'image/png': {'width': 21, 'height': 9}},",
                "        raw=True)",
            )
        ],
        r"",
        drawn="<img[^>]*width=.21",
        instead={"terminal": ("a picture", "a terminal shows the text")},
    ),
    Row(
        "a table of pandas",
        [_there("import pandas as pd", "pd.DataFrame({'city': ['Oslo', 'Lima'],", "              'rain': [763, 16]})")],
        r"Oslo\s+763[\s\S]*Lima\s+16",
    ),
    Row(
        "a plot of matplotlib",
        [
            _there(
                "%matplotlib inline",
                "import matplotlib.pyplot as plt",
                "plt.figure(figsize=(2, 1))",
                "plt.plot([1, 3, 2]);",
            )
        ],
        r"",
        drawn="<img",
        instead={"terminal": (r"<Figure size 200x100 with 1 Axes>", "a terminal shows the text")},
    ),
    Row(
        "a display, updated by a later cell",
        [_there("shown = display('before', display_id=True)"), _there("shown.update('after')")],
        r"'after'",
    ),
    Row(
        "a display id that both kernels use",
        [
            _there("one = display('there', display_id='same')"),
            "two = display('here', display_id='same')",
            _there(
                "from IPython.display import update_display",
                "update_display('there, updated',",
                "               display_id='same')",
            ),
        ],
        r"'there, updated'[\s\S]*'here'",
        natively=[
            "one = display('there', display_id='one')",
            "two = display('here', display_id='two')",
            "from IPython.display import update_display\nupdate_display('there, updated', display_id='one')",
        ],
        instead={"terminal": (r"^'there'\n'here'\n'there, updated'$", "a terminal prints an update below")},
    ),
    Row(
        "a display id that is shown twice",
        [_there("for n in (1, 2):", "    shown = display(n, display_id='twice')")],
        r"2[\s\S]*2|1[\s\S]*2",
    ),
    Row(
        "`clear_output(wait=True)`, an animation",
        [
            _there(
                "from IPython.display import clear_output",
                "for n in range(3):",
                "    clear_output(wait=True)",
                "    print('round', n)",
            )
        ],
        r"round 2",
    ),
    # -- results
    Row("a result", [_there("6 * 7"), "_"], r"42[\s\S]*42"),
    Row(
        "several results in one cell",
        [
            _there("get_ipython().ast_node_interactivity = 'all'"),
            _there("1 + 1", "'two'", "3.0"),
            _there("get_ipython().ast_node_interactivity = 'last_expr'"),
        ],
        r"2[\s\S]*'two'[\s\S]*3\.0",
    ),
    Row("a result with `;`", [_there("print('shown')", "6 * 7;")], r"^shown$"),
    # -- errors
    Row(
        "an error",
        [_there("def share(n):", "    return 12 / n", "share(0)")],
        r"ZeroDivisionError: division by zero",
        named=True,
    ),
    Row(
        "an error with unicode",
        [_there("raise ValueError('größer als ∞ 🚀')")],
        r"ValueError: größer als ∞ 🚀",
        named=True,
    ),
    Row("SyntaxError", [_there("print('no'")], r"SyntaxError|_IncompleteInputError|incomplete input", named=True),
    Row(
        "ExceptionGroup",
        [
            _there(
                "raise ExceptionGroup('all of it', [ValueError('first'),",
                "                                   KeyError('second')])",
            )
        ],
        r"ExceptionGroup: all of it[\s\S]*first[\s\S]*second",
        instead=_everywhere(r"ExceptionGroup: all of it[\s\S]*first[\s\S]*second[\s\S]*ExceptionGroup: all", _AGAIN),
        named=True,
    ),
    Row(
        "an error with no IOPub message",
        [_there("%no_such_magic")],
        r"no_such_magic",
        instead=_everywhere(r"no_such_magic[\s\S]*UsageError: [^:]*no_such_magic", _AGAIN),
        named=True,
    ),
    Row("SystemExit", [_there("raise SystemExit('bye')")], r"SystemExit: bye[\s\S]*To exit: use", named=True),
    Row(
        "an error that was caught and shown, and another one",
        [
            _there(
                "try:",
                "    1 / 0",
                "except ArithmeticError:",
                "    get_ipython().showtraceback()",
                "print('between')",
                "{}['key']",
            )
        ],
        r"ZeroDivisionError: division by zero[\s\S]*between[\s\S]*KeyError: 'key'",
        # IPython's terminal names another line of the cell as the one that raised.
        instead={"terminal": (r"division by zero\s+between\s[\s\S]*KeyError: 'key'", "the text is ipykernel's")},
        named=True,
    ),
    Row(
        "`%run` of a file that fails, and more code",
        [
            _there(
                "import pathlib, tempfile",
                "failing = pathlib.Path(tempfile.gettempdir(), 'kernel-bridge-fails.py')",
                "failing.write_text('print(\"in the file\")\\n1 / 0\\n');",
            ),
            _there("%run {failing}", "print('after it')"),
        ],
        r"in the file[\s\S]*ZeroDivisionError: division by zero[\s\S]*after it",
        named=True,
    ),
    Row(
        "a plot that comes behind an error",
        [
            _there(
                "%matplotlib inline",
                "import matplotlib.pyplot as plt",
                "plt.figure(figsize=(2, 1))",
                "plt.plot([1, 3, 2])",
                "1 / 0",
            )
        ],
        r"ZeroDivisionError: division by zero",
        drawn="<img",
        instead={
            "terminal": (
                r"\A-+\s[\s\S]*ZeroDivisionError: division by zero\s+<Figure size 200x100 with 1 Axes>\s*\Z",
                "a terminal shows the text",
            )
        },
        named=True,
    ),
    Row(
        "an error within `with Output():`",
        [
            _there(
                "import ipywidgets",
                "out = ipywidgets.Output()",
                "display(out)",
                "with out:",
                "    1 / 0",
                "print('below it')",
            )
        ],
        r"ZeroDivisionError: division by zero[\s\S]*below it|below it",
        instead={"terminal": (r"ZeroDivisionError: division by zero\s*below it", _NO_WIDGETS)},
    ),
    # -- capturing
    Row(
        "`%%capture` around",
        [f"%%capture kept\n{_there('print(6 * 7)')}", "print(['captured', kept.stdout])"],
        r"\['captured', '42\\n'\]",
    ),
    Row(
        "`capture_output` and `redirect_stdout` around",
        [
            "import contextlib, io\nfrom IPython.utils.capture import capture_output",
            "with capture_output() as kept:\n    there('print(1)')",
            "with contextlib.redirect_stdout(io.StringIO()) as file:\n    there('print(2)')",
            "print('captured', [kept.stdout, file.getvalue()])",
        ],
        r"captured \['1\\n', '2\\n'\]",
    ),
    Row(
        "`capture_output` inside",
        [
            _there(
                "from IPython.utils.capture import capture_output",
                "with capture_output() as kept:",
                "    print(1)",
                "print('captured', [kept.stdout])",
            )
        ],
        r"captured \['1\\n'\]",
    ),
    Row(
        "`with Output():` around",
        [
            "import ipywidgets\nlocal = ipywidgets.Output()",
            "display(local)\nwith local:\n    there('print(\"in it\")')\nprint('below it')",
        ],
        r"in it[\s\S]*below it|below it",
        instead={"terminal": (r"Output\(\)\nin it\nbelow it", "a terminal has no widgets")},
    ),
    Row(
        "`ipywidgets.Output` there",
        [
            _there(
                "import ipywidgets",
                "out = ipywidgets.Output()",
                "display(out)",
                "with out:",
                "    print('in it')",
                "print('below it')",
            )
        ],
        r"in it[\s\S]*below it|below it",
        instead={"terminal": (r"in it\nbelow it", _NO_WIDGETS)},
    ),
    Row(
        "`clear_output` within an `ipywidgets.Output`",
        [
            _there(
                "import ipywidgets",
                "from IPython.display import clear_output",
                "out = ipywidgets.Output()",
                "print('above it')",
                "display(out)",
                "with out:",
                "    print('gone')",
                "    clear_output()",
                "    print('in it')",
                "print('below it')",
            )
        ],
        r"above it[\s\S]*in it[\s\S]*below it|above it[\s\S]*below it",
        instead={"terminal": (r"above it\s+gone\s+in it\s+below it|above it\s+in it\s+below it", _NO_WIDGETS)},
    ),
    Row("`%%time` around", [f"%%time\n{_there('print(1)')}"], r"1[\s\S]*Wall time"),
    Row("`%%time` inside", [_there("%%time", "print(1)")], r"1[\s\S]*Wall time"),
    # -- input
    Row(
        "`input()`",
        [_there("name = input('who? ')", "print('hello', name)")],
        r"hello ann|StdinNotImplementedError",
        answers=[("who?", "ann")],
    ),
    Row(
        "`getpass()`",
        [_there("import getpass", "print('long:', len(getpass.getpass('secret: ')))")],
        r"long: 8|StdinNotImplementedError",
        answers=[("secret:", "hunter22")],
    ),
    Row(
        "`input()`, interrupted",
        [_there("input('stuck? ')"), _there("print('usable')")],
        r"(KeyboardInterrupt|StdinNotImplementedError)[\s\S]*usable",
        answers=[("stuck?", STOP)],
        instead={"terminal": (r"KeyboardInterrupt: Interrupted by user\nusable", "the text is ipykernel's")},
        named=True,
    ),
    # -- later
    Row(
        "output that comes after its cell",
        [
            _there(
                "import threading",
                "later = threading.Timer(0.4,",
                "    lambda: print('came late'))",
                "later.start()",
                "print('done')",
            )
        ],
        r"done[\s\S]*came late",
        later=True,
        instead={"nbclient": (r"done", "nbclient has left the cell by then; natively it keeps the line only by luck")},
        named=True,
    ),
    # -- widgets
    Row(
        "a slider, in a box with a label",
        [_there("import ipywidgets as w", "w.HBox([w.Label('how much'),", "        w.IntSlider(value=42)])")],
        r"how much\s*42|HBox\(",
        instead={
            "terminal": (
                r"widgets are shown as text: a terminal cannot display them\n.*HBox\(children=\(Label\(value='how m",
                _NO_WIDGETS,
            )
        },
    ),
    # -- other languages
    Row(
        "bash: streams",
        [_there("echo one; echo two >&2", "printf 'th'; printf 'ree\\n'")],
        r"one\s+two\s+three",
        kernel="bash",
        instead={"terminal": (r"^one\ntwo\nthree$", _NO_NATIVE)},
    ),
    Row(
        "bash: an error with no traceback",
        [_there("echo before", "(exit 42)")],
        r"before\s+42|before",
        kernel="bash",
        instead=_everywhere(r"^before\n(\n)?exit status 42$", "its exit status stands where others' tracebacks do"),
        named=True,
    ),
    Row(
        "Deno: streams and a result",
        [_there("console.log('said'); console.error('and this');"), _there("const x: number = 6 * 7;", "x")],
        r"said[\s\S]*42",
        kernel="deno",
        instead={
            "terminal": (r"said\nand this\nOut\[n\]: 42", _NO_NATIVE),
            "nbclient": (r"said\s+and this\s+42", _LATE_NATIVELY),
        },
    ),
    Row(
        "Deno: an error",
        [_there("const fail = (n: number) => { throw new Error('no ' + n); };", "fail(7)")],
        r"Error: no 7",
        kernel="deno",
        instead={"terminal": (r"Error: no 7", _NO_NATIVE)},
        named=True,
    ),
    Row(
        "Deno: HTML and a picture",
        [
            _there("Deno.jupyter.html`<b>bold</b>`"),
            _there(
                "({[Symbol.for('Jupyter.display')]: () =>",
                f"  ({{'image/png': {_picture(30)!r},",
                "    'text/plain': 'a picture'})})",
            ),
        ],
        r"",
        drawn="<b>bold[^$]*<img",
        kernel="deno",
        instead={
            "terminal": (r"a picture", "a terminal shows the text"),
            "nbclient": (r"a picture", _LATE_NATIVELY),
        },
    ),
    Row(
        "Deno: a display that is updated",
        [
            _there("await Deno.jupyter.display({'text/plain': 'before'},", "  {raw: true, display_id: 'd'});"),
            _there(
                "await Deno.jupyter.display({'text/plain': 'after'},", "  {raw: true, display_id: 'd', update: true});"
            ),
        ],
        r"after",
        kernel="deno",
        instead={
            "terminal": (r"before\nafter", "a terminal prints an update below"),
            "nbclient": (r"\Aafter\s*\Z", _LATE_NATIVELY),
        },
    ),
    # -- last, since it makes a page slow
    Row(
        "10 MB of text",
        [_there("for n in range(1000):", "    print(n, '7' * 9990)", "print('end of text')")],
        r"999 7\S+\s+end of text",
        instead=dict.fromkeys(
            ("JupyterLab", "Notebook 7"), (r"\A0 7\S+\n1 7[\s\S]*\n999 7\S+\s+end of text\Z", _DROPPED)
        ),
    ),
)
