# Asked for once for each piece: no more than what `held.py` has put there is called.


def shell():
    return __import__("IPython").get_ipython()


def held():
    return vars(shell()).get("kernel_bridge_held")


class Answer(object):
    def __init__(self, text):
        self.text = text

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/plain": self.text}


def piece(token, start, stop):
    """Return a piece of what waits, in base64; "" if it was dropped."""
    data = held().piece(token, start, stop) if held() else b""
    return Answer(__import__("base64").b64encode(data).decode())


def post(token, start, stop, size):
    """Send pieces of what waits, of this size, to the guest who asks, and to nobody else: the stdin socket knows each
    by name. Return how many bytes that were. Each request costs all other clients two messages, hence several pieces.
    """
    kernel = shell().kernel
    ident = kernel._parent_ident
    ident = ident if isinstance(ident, (bytes, list)) else ident["shell"]
    sent = 0
    for begin in range(start, stop, size):
        data = held().piece(token, begin, min(begin + size, stop)) if held() else b""
        if not data:
            break
        about = {"start": begin, "crc": __import__("zlib").crc32(data)}
        kernel.session.send(kernel.stdin_socket, "kernel_bridge_data", about, parent=kernel.get_parent(), ident=ident,
                            buffers=[data])  # fmt: skip
        sent += len(data)
    return Answer("%d" % sent)


def checksum(token, size):
    """Return the checksum of what waits, for pieces that come without one."""
    return Answer("%d" % (held().checksum(token, size) if held() else -1))


def fill(token, start, crc, text):
    """Take a piece that this request brings, as its buffer or in base64; return whether it is held, and undamaged."""
    data = __import__("base64").b64decode(text) if text else shell().kernel.get_parent()["buffers"][0]
    return Answer("%d" % bool(__import__("zlib").crc32(data) == crc and held() and held().fill(token, start, data)))


def drop(token):
    """Forget what waits."""
    if held():
        held().drop(token)
    return Answer("")
