"""Keep what a guest's thread does from ending what the owner's thread has begun.

Every request, a silent one too, ends in IPython's event `post_execute`, and there matplotlib's inline backend shows and
closes *all* figures: also the one that the main thread is drawing at that moment. So, while a guest is at work in a
thread that is not the main shell's, the two methods of the shell's `events` that matter are replaced on that instance.
"""

import functools
import threading


class Guard(object):
    """What stands in the place of `events.trigger` and `events.register`. All guests of a kernel share one."""

    def __init__(self, events):
        self.events = events
        self.lock = threading.RLock()
        self.kernel_bridge_guests = {}  # of each thread of a guest: what takes its events
        self.gone = False
        self.here = {"trigger": self.trigger, "register": self.register}
        self.found = {}  # what the owner had put there

    def trigger(self, event, *args, **kwargs):
        guest = self.kernel_bridge_guests.get(threading.current_thread())
        if guest is None:
            return self.before("trigger")(event, *args, **kwargs)
        return guest.take(self, event, *args, **kwargs)

    def register(self, event, function):
        self.before("register")(event, function)
        for guest in list(self.kernel_bridge_guests.values()):
            guest.registered(self, function)

    def before(self, name):
        """What is called where we are not concerned."""
        return self.found.get(name) or functools.partial(getattr(type(self.events), name), self.events)

    def stand(self):
        """Take the places, unless another guest's guard has them; give the one that has."""
        places = self.events.__dict__
        found = places.get("trigger")
        if not hasattr(getattr(found, "__self__", None), "kernel_bridge_guests"):
            self.found = {name: places[name] for name in self.here if name in places}
            if found is None:
                found = places.setdefault("trigger", self.here["trigger"])
            else:
                found = places["trigger"] = self.here["trigger"]
            if found is self.here["trigger"]:
                places["register"] = self.here["register"]
        return found.__self__

    def leave(self, thread):
        """Let a thread go, and all that have ended; with the last one put back what was found."""
        with self.lock:
            guests = self.kernel_bridge_guests
            for other in list(guests):
                if other is thread or not other.is_alive():
                    del guests[other]
            if guests or self.gone:
                return
            self.gone = True
            places = self.events.__dict__
            for name, here in self.here.items():
                if places.get(name) is here:  # else the owner has put something in its place since
                    del places[name]
                    if name in self.found:
                        places[name] = self.found[name]


class Aside(object):
    """One request on the control channel: nothing is done at its end."""

    def take(self, guard, event, *args, **kwargs):
        if event == "post_execute":
            guard.leave(threading.current_thread())
        else:
            guard.before("trigger")(event, *args, **kwargs)

    def registered(self, guard, function):
        pass


def enter(guest):
    """Have `guest` take the events of this thread from now on; give the guard."""
    events = __import__("IPython").get_ipython().events
    while True:
        guard = Guard(events).stand()
        with guard.lock:
            if not guard.gone:
                guard.kernel_bridge_guests.setdefault(threading.current_thread(), guest)
                return guard
