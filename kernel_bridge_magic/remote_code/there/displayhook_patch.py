"""Let the `;` of a guest's own cell decide whether the cell's result is shown.

IPython decides by the last input of its history (`quiet` in core/displayhook.py), which has no cell of a guest's. So,
while guests are there, `quiet` of the display hook is replaced on that instance. All guests share one replacement.
Nobody can tell a guest that was killed from one that is silent: so whoever leaves takes it away for all, and whoever
has heard of others puts it there again before each cell.
"""

import threading
import time

GUEST = "kernel_bridge"  # in a cell's metadata
AWAY_SECONDS = 600  # after a guest's last cell it goes by itself
MOMENT = 0.5  # seconds; the cell follows the request that arms at once


class Quiet(object):
    """What stands in the place of `quiet`. It returns whether the result of the running cell is hidden."""

    def __init__(self, shell):
        self.shell = shell
        self.hook = shell.displayhook
        self.found = {name: value for name, value in vars(self.hook).items() if name == "quiet"}
        self.guest = ""  # who armed last
        self.armed = self.last = 0.0
        self.shown = False  # a result of the cell that it was armed for, or of a later one
        self.subshells = set()  # threads that guests run cells in

    def __call__(self):
        parent = self.shell.get_parent() or {}
        if GUEST in (parent.get("metadata") or {}):
            self.last, self.shown = time.monotonic(), True
            return self.hook.semicolon_at_end_of_expression(self.shell.transform_cell(parent["content"]["code"]))
        if time.monotonic() - self.last > AWAY_SECONDS and threading.current_thread() is threading.main_thread():
            self.go()  # main runs no cell of a guest's now
        return self.found["quiet"]() if self.found else type(self.hook).quiet(self.hook)

    def arm(self, guest):
        """Note a guest whose cell comes next; return whether another guest had armed before."""
        shared = self.guest not in ("", guest)
        self.guest, self.shown, self.armed = guest, False, time.monotonic()
        self.last = self.armed
        if threading.current_thread() is not threading.main_thread():
            self.subshells.add(threading.current_thread())
        return shared

    def kernel_bridge_leave(self):
        awaited = not self.shown and time.monotonic() - self.armed < MOMENT
        if not (awaited and self.guest != session(self.shell)):
            self.go()

    def go(self):
        """Put back what was found, unless a guest's cell runs in a subshell, or the owner put something else there."""
        places = vars(self.hook)
        self.subshells = {thread for thread in self.subshells if thread.is_alive()}
        if places.get("quiet") is self and not self.subshells:
            del places["quiet"]
            places.update(self.found)


def session(shell):
    return shell.get_parent()["header"]["session"]


def arm():
    """Put a guest's `quiet` there; return whether other guests are, or were, there."""
    shell = __import__("IPython").get_ipython()
    guest = session(shell)  # first: a shell that does not tell, as xeus-python's, gets nothing that asks it
    places = vars(shell.displayhook)
    quiet = places.get("quiet")
    if not hasattr(quiet, "kernel_bridge_leave"):
        quiet = places["quiet"] = Quiet(shell)
    return quiet.arm(guest)


def disarm():
    """Remove what stands there, if it is a guest's."""
    quiet = __import__("IPython").get_ipython().displayhook.quiet
    if hasattr(quiet, "kernel_bridge_leave"):
        quiet.kernel_bridge_leave()
