"""Keep what a guest's thread does from ending, or taking, what the owner's thread has begun.

IPython has one display hook, one list of events and one list of payloads for all threads.

- Every request, a silent one too, ends in the event `post_execute`. There matplotlib's inline backend shows and closes
  *all* figures, also the one that the main thread is drawing at that moment.
- A reply takes all payloads along: a text for the owner's next cell, a page.
- The value of a cell goes to whichever cell began last.

So, while a guest is at work in a thread other than the main shell's, the methods that matter are replaced on the
shell's parts.
"""

import functools
import sys
import threading


class Guard(object):
    """What stands in the place of some methods of a shell's parts. All guests of a kernel share one."""

    def __init__(self, shell):
        self.displayhook = shell.displayhook
        self.lock = threading.RLock()
        self.kernel_bridge_guests = {}  # by thread of a guest: what handles its events
        self.gone = False
        self.here = {"trigger": self.trigger, "register": self.register, "fill_exec_result": self.fill_exec_result}
        self.here["clear_payload"] = self.clear_payload
        for name in ("read_payload", "write_payload"):
            self.here[name] = functools.partial(self.payload, name)
        self.parts = {}  # what each of those is a method of
        for part in (shell.events, shell.payload_manager, shell.displayhook):
            self.parts.update((name, part) for name in self.here if hasattr(type(part), name))
        self.found = {}  # what the owner had put there

    # -- the methods that stand there

    def trigger(self, event, *args, **kwargs):
        guest = self.guest()
        if guest is None:
            return self.before("trigger")(event, *args, **kwargs)
        return guest.take(self, event, *args, **kwargs)

    def register(self, event, function):
        self.before("register")(event, function)
        for guest in list(self.kernel_bridge_guests.values()):
            guest.registered(self, function)

    def payload(self, name, *args, **kwargs):
        guest = self.guest()
        method = self.before(name) if guest is None else getattr(guest.payloads, name)
        return method(*args, **kwargs)

    def clear_payload(self):
        """Clear the payloads: the last step of each request."""
        guest = self.guest()
        self.payload("clear_payload")
        if guest is not None:
            self.put_right()
            guest.end(self)

    def put_right(self):
        """Return to the owner's cell what IPython took from it at the end of the guest's."""
        if not getattr(sys, "_is_gil_enabled", lambda: True)():
            return  # without a GIL the frames of other threads must be left alone
        frames = sys._current_frames()
        if self.displayhook.exec_result is None:
            self.displayhook.exec_result = result_of(frames.get(threading.main_thread().ident))
        tees = sum("_tee" in frame.f_code.co_names for one in frames.values() for frame in cells(one, "run_cell"))
        for stream in (sys.stdout, sys.stderr):
            peel(stream, tees)

    def fill_exec_result(self, value):
        result = result_of(sys._getframe())
        if result is None:
            self.before("fill_exec_result")(value)
        else:
            result.result = value

    # -- putting them there

    def guest(self):
        return self.kernel_bridge_guests.get(threading.current_thread())

    def before(self, name):
        """Return what is called where no guest is concerned."""
        part = self.parts[name]
        return self.found.get(name) or functools.partial(getattr(type(part), name), part)

    def stand(self):
        """Put the methods there, unless another guest's guard has done so; return the guard that has."""
        places = vars(self.parts["trigger"])
        found = places.get("trigger")
        if not hasattr(getattr(found, "__self__", None), "kernel_bridge_guests"):
            self.found = {name: vars(part)[name] for name, part in self.parts.items() if name in vars(part)}
            if found is None:
                found = places.setdefault("trigger", self.here["trigger"])
            else:
                found = places["trigger"] = self.here["trigger"]
            if found is self.here["trigger"]:
                for name, part in self.parts.items():
                    vars(part)[name] = self.here[name]
        return found.__self__

    def leave(self, thread):
        """Forget a thread, and all that have ended; with the last one put back what was found."""
        with self.lock:
            guests = self.kernel_bridge_guests
            for other in list(guests):
                if other is thread or not other.is_alive():
                    del guests[other]
            if guests or self.gone:
                return
            self.gone = True
            for name, part in self.parts.items():
                if vars(part).get(name) is self.here[name]:  # else the owner has put something in its place since
                    del vars(part)[name]
                    if name in self.found:
                        vars(part)[name] = self.found[name]


def cells(frame, method):
    """Yield the frames of a method on the stack of a thread, the innermost first."""
    while frame is not None:
        if frame.f_code.co_name == method:
            yield frame
        frame = frame.f_back


def result_of(frame):
    """Return the `ExecutionResult` of the cell that a thread runs; None if it runs none."""
    return next((cell.f_locals.get("result") for cell in cells(frame, "run_cell_async")), None)


def peel(stream, tees):
    """Remove all but the newest `tees` layers of IPython's `_tee` around a stream's `write`.

    Each cell puts back the `write` that it found. If that was a layer of a cell that ended during the guest's, it would
    stay for good. The next request finds what a cell left that began during the guest's.
    """
    layers, write = [], getattr(stream, "write", None)
    while getattr(write, "__qualname__", "") == "InteractiveShell._tee.<locals>.write":
        layers.append(write.__closure__[write.__code__.co_freevars.index("original_write")])
        write = layers[-1].cell_contents
    if len(layers) > tees > 0:
        layers[tees - 1].cell_contents = write
    elif layers and not tees:
        stream.write = write


class Aside(object):
    """A guest of one request on the control channel. No hook runs at its end."""

    def take(self, guard, event, *args, **kwargs):
        if event != "post_execute":
            guard.before("trigger")(event, *args, **kwargs)

    def registered(self, guard, function):
        pass

    def end(self, guard):
        guard.leave(threading.current_thread())


def enter(guest):
    """Let `guest` handle the events of this thread from now on; return the guard."""
    shell = __import__("IPython").get_ipython()
    guest.payloads = type(shell.payload_manager)()
    while True:
        guard = Guard(shell).stand()
        with guard.lock:
            if not guard.gone:
                guard.kernel_bridge_guests.setdefault(threading.current_thread(), guest)
                return guard


def enter_aside():
    """Guard the one request that this thread handles now."""
    enter(Aside())
