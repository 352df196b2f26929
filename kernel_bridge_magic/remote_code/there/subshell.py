# What a guest's subshell needs. It runs behind guard.py and status.py, in the same namespace.
import collections
import copy
import time

AWAY_SECONDS = 600  # after its last request a subshell whose guest never deleted it deletes itself


class Figures(object):
    """pyplot's figures (`Gcf.figs`) while guests draw: their threads see their own figures, all others the owner's.

    Without that, `plt.plot()` of a guest would draw into the figure that the owner's cell is drawing.
    """

    def __init__(self, owners):
        self.owners = owners
        self.kernel_bridge_apart = {}

    def _mine(self):
        return self.kernel_bridge_apart.get(threading.current_thread(), self.owners)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._mine(), name)


def of_the_thread(name):
    """Return a special method of the thread's own figures: Python looks for those on the class only."""
    return lambda self, *args: getattr(self._mine(), name)(*args)


for name in ("__contains__", "__getitem__", "__setitem__", "__delitem__", "__iter__", "__reversed__", "__len__"):
    setattr(Figures, name, of_the_thread(name))


class Subshell(object):
    """A guest's subshell. At the end of its cells it shows and closes those cells' figures, never the owner's."""

    def __init__(self, shell):
        self.shell = shell
        self.kernel = shell.kernel
        self.thread = threading.current_thread()
        self.id = self.kernel.get_parent("shell")["header"]["subshell_id"]
        self.running = False
        self.last = 0.0

    # -- events

    def take(self, guard, event, *args, **kwargs):
        if event == "pre_execute":
            self.running = True
            self.draw_apart(guard)
        if event != "post_execute":
            return guard.before("trigger")(event, *args, **kwargs)
        try:
            self.show(guard)
        except (Exception, KeyboardInterrupt):
            self.shell.showtraceback()
        finally:
            self.running, self.last = False, time.monotonic()
            self.in_shell_channel(AWAY_SECONDS, self.look)  # it goes even if its guest was killed
        # The owner's hooks run, but neither matplotlib's nor IPython's: those would act on what the main thread does.
        events = copy.copy(self.shell.events)
        events.callbacks = {event: [one for one in events.callbacks[event] if not is_library(one)]}
        type(events).trigger(events, event, *args, **kwargs)

    def registered(self, guard, function):
        # Before the first figure that anybody makes: the backend was not chosen when the cell began.
        if self.running:
            self.draw_apart(guard)

    def end(self, guard):
        pass

    # -- figures

    def backend(self):
        """Return the module of the inline backend if that is in use, else None."""
        for function in list(self.shell.events.callbacks["post_execute"]):
            if getattr(function, "__name__", "") == "flush_figures":
                return sys.modules.get(function.__module__)
        return None

    def draw_apart(self, guard):
        helpers = sys.modules.get("matplotlib._pylab_helpers")
        if helpers is None or self.backend() is None:
            return
        with guard.lock:
            figures = helpers.Gcf.figs
            if isinstance(figures, collections.OrderedDict):
                figures = helpers.Gcf.figs = Figures(figures)
            if hasattr(figures, "kernel_bridge_apart"):
                figures.kernel_bridge_apart.setdefault(self.thread, collections.OrderedDict())

    def show(self, guard):
        helpers = sys.modules.get("matplotlib._pylab_helpers")
        figures = helpers and helpers.Gcf.figs
        mine = getattr(figures, "kernel_bridge_apart", {}).get(self.thread)
        if mine is None:
            return
        try:
            backend = self.backend()
            if mine and backend is not None and sys.modules["matplotlib"].is_interactive():
                self.flush(helpers.Gcf, backend, mine)
        finally:
            with guard.lock:
                del figures.kernel_bridge_apart[self.thread]
                for number, manager in mine.items():  # left open, as by any cell
                    figures.owners.setdefault(number, manager)
                if not figures.kernel_bridge_apart and helpers.Gcf.figs is figures:
                    helpers.Gcf.figs = figures.owners

    def flush(self, gcf, backend, mine):
        """Do what `flush_figures` does, for the guest's figures only."""
        drawn = [manager.canvas.figure for manager in mine.values()]
        try:
            for figure in drawn:
                backend.display(figure, metadata=backend._fetch_figure_metadata(figure))
        finally:
            for figure in drawn:
                if figure in backend.show._to_draw:
                    backend.show._to_draw.remove(figure)
            if backend.InlineBackend.instance().close_figures:
                gcf.destroy_all()

    # -- its end

    def in_shell_channel(self, seconds, action):
        """Call `action` after some seconds in the thread that makes and deletes subshells; `add_callback` wakes it."""
        loop = self.kernel.shell_channel_thread.manager._shell_channel_io_loop
        loop.add_callback(loop.call_later, seconds, action)

    def delete(self):
        if self.thread.is_alive():
            self.kernel.shell_channel_thread.manager._delete_subshell(self.id)
        self.guard.leave(self.thread)

    def look(self):
        if not self.thread.is_alive() or (not self.running and time.monotonic() - self.last >= AWAY_SECONDS):
            self.delete()

    def leave(self):
        """Delete it when this request is over, and have the kernel say once more whether it is busy.

        Its guest may be gone by then. The main shell holds its lock while it runs something. If that ends just then,
        the main shell's own loop, which is free again, says idle.
        """
        kernel, parent = self.kernel, self.kernel.get_parent("shell")

        def end():
            self.delete()
            if kernel._main_asyncio_lock.locked():
                say(kernel, parent, "busy")
                kernel.io_loop.add_callback(lambda: kernel._main_asyncio_lock.locked() or say(kernel, parent, "idle"))

        self.in_shell_channel(0.2, end)


def is_library(function):
    return (getattr(function, "__module__", None) or "").startswith(("matplotlib", "IPython.core.", "ipykernel."))


def arrive():
    """Guard this thread until its subshell goes."""
    guest = Subshell(__import__("IPython").get_ipython())
    guest.guard = enter(guest)
    guest.thread.kernel_bridge_guest = guest
