"""Cells that somebody types while `%autoremote` is on, and what is to be seen below each, in whatever front end."""

from __future__ import annotations

from typing import NamedTuple

#: What the other notebook is called.
NAME = "auto-north"
#: In front of all: `%rerun` counts from here.
SETUP = ("%load_ext kernel_bridge_magic", f"%autoremote {NAME}")
BEGUN = f"cells now run in {NAME}.ipynb until %autoremote off (%%local runs one here)"


class Typed(NamedTuple):
    """One cell."""

    code: str
    #: a regular expression that finds all that is shown, "" for nothing
    shows: str
    #: whether this kernel runs it, not the other one
    here: bool = False
    #: whether it ends with an error
    fails: bool = False


THERE, HERE = "'there'", "'here'"
CELLS = (
    Typed("who = 'there'", ""),
    Typed("who", THERE),
    Typed("# a comment", ""),
    Typed("%%local\nwho = 'here'", "", here=True),
    Typed("%%local\n\nwho", HERE, here=True),
    Typed("\n\nprint('first')\nwho", rf"first\s(.|\n)*{THERE}"),
    Typed("import asyncio\nawait asyncio.sleep(0, who)", THERE),
    Typed("%%local\nimport asyncio\nawait asyncio.sleep(0, who)", HERE, here=True),
    Typed("%%time\nwho", rf"Wall time(.|\n)*{THERE}"),
    Typed("%%local\n%%time\nwho", rf"Wall time(.|\n)*{HERE}", here=True),
    Typed("%timeit -n 1 -r 1 who", "per loop"),
    Typed("%%bash\necho of bash", "of bash"),
    Typed("!echo $((6 * 7))", "42"),
    Typed("%%html\n<b>bold</b>", "<IPython.core.display.HTML object>"),
    Typed("len?", "Return the number of items"),
    Typed("%matplotlib inline\nfrom matplotlib.pyplot import *\nfigure(figsize=(2, 1)); plot([1, 2]);", "<Figure size"),
    Typed("%pip --version", "you may need to restart the kernel"),
    Typed("_ = get_ipython().run_cell('who')", THERE),
    Typed("%%local\n_ = get_ipython().run_cell('who')", HERE, here=True),
    Typed("%rerun 4", THERE),
    Typed(f"x = %remote {NAME} who", "", here=True),
    Typed("%%local\nx.text", '"' + THERE + '"', here=True),
    Typed(f"%%remote {NAME}\nwho", THERE, here=True),
    Typed("%kernels?", "List every running kernel", here=True),
    Typed("%history -n 4", "4: who", here=True),
    Typed("%load_ext kernel_bridge_magic", "already loaded", here=True),
    Typed("%autoremote", f"cells run in {NAME}.ipynb until %autoremote off", here=True),
    Typed("%autoremote nobody", "KernelNotFound: no running kernel matches 'nobody'", here=True, fails=True),
    Typed("%autoremote --bg south", "BadOption: --bg is for one cell", here=True, fails=True),
    Typed("1 / 0", "ZeroDivisionError: division by zero", fails=True),
    Typed("%%local\n\nno_name", "line 3(.|\n)*NameError", here=True, fails=True),
    Typed("%%local\nx = )", "line 2(.|\n)*SyntaxError", here=True, fails=True),
    Typed("%%local x\nwho", "BadOption: %%local has no options", here=True, fails=True),
    Typed("who", THERE),
    Typed("exit", f"cells run here again, no longer in {NAME}.ipynb", here=True),
    Typed("who", HERE, here=True),
    Typed("%%local\nwho", HERE, here=True),
    Typed("%autoremote", r"cells run here\. %autoremote NAME", here=True),
)
