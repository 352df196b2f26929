"""From the control channel: have the kernel say that it is busy, and interrupt a guest's thread."""

import ctypes
import threading


def look_busy():
    """Say on IOPub that the kernel is busy, a moment after the idle of this request."""
    kernel = __import__("IPython").get_ipython().kernel
    parent = kernel.get_parent("control")

    def say():
        content = {"execution_state": "busy"}
        kernel.session.send(kernel.iopub_socket, "status", content, parent=parent, ident=kernel._topic("status"))

    threading.Timer(0.1, say).start()


def interrupt(ident):
    """Raise KeyboardInterrupt in a guest's thread; return how many threads were reached: 0 or 1.

    The identity of a thread that has ended may be another one's by now, and that one the owner's.
    """
    if not any(thread.ident == ident and hasattr(thread, "kernel_bridge_guest") for thread in threading.enumerate()):
        return 0
    return ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(KeyboardInterrupt))
