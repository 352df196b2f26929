# Formats for pictures: PIL, and figures of matplotlib. It runs behind codec.py, in the same namespace.
#
# A picture is its mode, its size, its palette, and its pixels as they are: PNG cannot hold all modes.

# bits of one pixel, of each mode that PIL writes as it is
MODES = {"1": 1, "L": 8, "P": 8, "LA": 16, "PA": 16, "La": 16, "I;16": 16, "I;16L": 16, "I;16B": 16, "RGB": 24,
         "YCbCr": 24, "LAB": 24, "HSV": 24, "RGBA": 32, "RGBa": 32, "RGBX": 32, "CMYK": 32, "I": 32,
         "F": 32}  # fmt: skip
# What Image.open gives: an Image that knows its file.
OPENED = tuple("PIL.%sImagePlugin:%sImageFile" % (name, name) for name in (
    "Avif Blp Bmp Cur Dcx Dds Eps Fits Fli Ftex Gbr Gif Icns Ico Im Imt Iptc Jpeg Jpeg2K McIdas Mpeg Msp Pcd Pcx "
    "Pixar Png Ppm Psd Qoi Sgi Spider Sun Tga Tiff WebP XVThumb Xbm Xpm"
).split()) + ("PIL.BmpImagePlugin:DibImageFile", "PIL.MpoImagePlugin:MpoImageFile",
              "PIL.WmfImagePlugin:WmfStubImageFile")  # fmt: skip
OPENED_NAMES = {name.partition(":")[2] for name in OPENED}
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
FIGURE_NOTE = "a Figure arrives as a picture"
HINTS["PIL.Image"] = "copy {}.copy()"


def pillow_here():
    """Return PIL.Image."""
    try:
        return __import__("PIL.Image").Image
    except ImportError:
        raise Refused("needs pillow, which the receiving side does not have", "install pillow there")


def note_once(notes, text):
    if text not in notes:
        notes.append(text)


def size_of_pixels(mode, width, height):
    """Return how many bytes pixels have; each line begins with a new byte."""
    return (width * MODES[mode] + 7) // 8 * height


def little_pixels(mode, data):
    """Return pixels in little-endian order, or such pixels in that of this machine."""
    if sys.byteorder == "little" or mode not in ("I", "F"):
        return data
    return little(array.array("I", bytes(data))).tobytes()


def write_picture(writer, value):
    needs_there(writer, "pillow")
    kind = type(value).__name__
    try:
        value.load()
    except Exception as problem:  # its file may be closed, cut off or broken
        raise Refused("cannot be read (%s)" % type(problem).__name__, "open its file again, or load() it before")
    mode, (width, height) = value.mode, value.size
    if mode not in MODES:
        raise Refused("has the mode %s, which cannot be copied" % mode, "copy {}.convert('RGB')")
    size = size_of_pixels(mode, width, height)
    writer.check(size)
    data = little_pixels(mode, value.tobytes()) if size else b""
    if len(data) != size:
        raise Refused("has pixels of an unusual size, which cannot be copied", "copy {}.convert('RGB')")
    writer.spend(memory_of_pixels(width, height))
    if kind != "Image":
        note_once(writer.notes, opened_note(kind))
        if getattr(value, "is_animated", False):
            note_once(writer.notes, "only the frame that it shows is copied")
    info = info_of(writer, value)
    palette = [value.palette.mode, writer.write(bytes(value.palette.palette))] if mode in ("P", "PA") else None
    return [mode, [width, height], palette, info, kind, *write_bytes(writer, data)]


def opened_note(kind):
    return "what was opened as a %s arrives as an Image, without its file" % kind


def info_of(writer, value):
    """Return what a picture says of itself as a node: its resolution, its profile. What is not kept is noted."""
    info = value.info.copy()
    kept = {key: what for key, what in info.items() if is_info(key, what)}
    dropped = [short(key) for key in info if key not in kept]
    if dropped:
        more = " and %d more" % (len(dropped) - 3) if len(dropped) > 3 else ""
        note_once(writer.notes, "info of a picture is not kept where it is no plain value: %s%s" %
                  (", ".join(dropped[:3]), more))  # fmt: skip
    return writer.write(kept) if kept else None


def is_info(key, value):
    """Return whether something that a picture says of itself is copied."""
    parts = value if type(value) is tuple else (value,)
    plain = (int, bytes, str, float, bool, type(None))
    if key == "transparency":  # which colour PIL takes for that
        plain = (int,) if type(value) is tuple else (int, bytes)
    return type(key) is str and all(type(part) in plain for part in parts)


def memory_of_pixels(width, height):
    """Return what PIL takes for a picture: 4 bytes a pixel at most, and an address for each line."""
    return 4 * width * height + 8 * height


def read_picture(reader, mode, size, palette, info, kind, part):
    pillow = pillow_here()
    width, height = (reader.whole(side, 0, 2**31 - 1) for side in size)
    reader.spend(memory_of_pixels(width, height))
    data = bytes_of(reader, part)
    if mode not in MODES or len(data) != size_of_pixels(mode, width, height):
        raise Refused(UNLIKE)
    data = bytes(little_pixels(mode, data))
    found = pillow.frombytes(mode, (width, height), data) if data else pillow.new(mode, (width, height))
    if palette is not None:
        kind_of_palette, colors = palette[0], reader.read(palette[1])
        if kind_of_palette not in ("RGB", "RGBA") or type(colors) is not bytes or mode not in ("P", "PA"):
            raise Refused(UNLIKE)
        if len(colors) > 256 * len(kind_of_palette) or len(colors) % len(kind_of_palette):
            raise Refused(UNLIKE)
        if colors:
            found.putpalette(colors, kind_of_palette)
    info = {} if info is None else reader.read(info)
    if type(info) is not dict or not all(map(is_info, info, info.values())):
        raise Refused(UNLIKE)
    found.info.update(info)
    if kind in OPENED_NAMES:
        note_once(reader.notes, opened_note(kind))
    return found


# -- figures of matplotlib


def write_figure(writer, value):
    """Return a figure as PNG, drawn as it is: its own size and resolution, and nothing cut off."""
    io, matplotlib = __import__("io"), sys.modules["matplotlib"]
    width, height = value.get_size_inches()
    dpi = getattr(value, "_original_dpi", value.dpi)  # where a screen has multiplied it
    writer.spend(2 * memory_of_pixels(math.ceil(width * dpi), math.ceil(height * dpi)))
    file = io.BytesIO()
    try:
        with matplotlib.rc_context({"savefig.bbox": None, "savefig.transparent": False}):
            value.savefig(file, format="png", dpi=dpi)
    except Exception as problem:
        raise Refused("cannot be drawn (%s)" % type(problem).__name__, "see what {}.savefig('figure.png') says")
    note_once(writer.notes, FIGURE_NOTE)
    return write_bytes(writer, file.getvalue())


def read_figure(reader, part):
    data = bytes(bytes_of(reader, part))
    if data[:16] != PNG:
        raise Refused(UNLIKE)
    size = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    reader.spend(2 * memory_of_pixels(*size))
    io = __import__("io")
    try:
        pillow = pillow_here()
    except Refused as problem:
        found = shown_by_ipython(data, problem)
    else:
        opened = pillow.open(io.BytesIO(data), formats=("PNG",))
        if opened.size != size:  # a second header, further behind
            raise Refused(UNLIKE)
        found = opened.copy()
    note_once(reader.notes, FIGURE_NOTE)
    return found


def shown_by_ipython(data, problem):
    """Return a PNG as what IPython shows, where pillow is missing."""
    try:
        return __import__("IPython.display").display.Image(data, format="png")
    except ImportError:
        raise problem


add_format("picture", write_picture, read_picture, "PIL.Image:Image", "PIL.JpegImagePlugin:JpegImageFile", *OPENED)
add_format("figure", write_figure, read_figure, "matplotlib.figure:Figure")
