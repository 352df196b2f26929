"""Beside the main shell: have the kernel say whether it is busy; find, interrupt and end a guest's thread."""

import ctypes
import threading


def say(kernel, parent, state):
    """Say on IOPub, as an answer to the request `parent`, that the kernel is busy, or idle."""
    content = {"execution_state": state}
    kernel.session.send(kernel.iopub_socket, "status", content, parent=parent, ident=kernel._topic("status"))


def look_busy():
    """Say that the kernel is busy, a moment after the idle of this request."""
    kernel = __import__("IPython").get_ipython().kernel
    threading.Timer(0.1, say, [kernel, kernel.get_parent("control"), "busy"]).start()


def identify():
    """Return the identity of this thread."""
    return threading.get_ident()


def leave():
    """Have this guest's subshell deleted behind the cell that it runs (see `subshell.py`)."""
    threading.current_thread().kernel_bridge_guest.leave()


def interrupt(ident):
    """Raise KeyboardInterrupt in a guest's thread; return how many threads were reached: 0 or 1.

    The identity of a thread that has ended may be another one's by now, and that one the owner's.
    """
    if not any(thread.ident == ident and hasattr(thread, "kernel_bridge_guest") for thread in threading.enumerate()):
        return 0
    return ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(KeyboardInterrupt))
