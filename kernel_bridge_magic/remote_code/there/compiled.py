# Keeps what was made of a long text for a minute: to compile it takes longer than to copy some MB.
import threading

COMPILED_SECONDS = 60


def namespace(digest, text):
    """Return the names that a text defines; it is run unless one of that digest is kept."""
    shell = vars(__import__("IPython").get_ipython())
    kept = shell.get("kernel_bridge_codec")
    if kept is None or kept[0] != digest:
        names = {}
        exec(text, names)
        kept = shell["kernel_bridge_codec"] = (digest, names)
        timer = threading.Timer(COMPILED_SECONDS, drop, [shell, kept])
        timer.daemon = True
        timer.start()
    return kept[1]


def drop(shell, kept):
    if shell.get("kernel_bridge_codec") is kept:
        del shell["kernel_bridge_codec"]
