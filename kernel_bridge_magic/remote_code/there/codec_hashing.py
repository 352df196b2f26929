# The keys of dicts and sets, which whoever sends them can choose so that looking one up takes for ever. It runs behind
# codec.py, in the same namespace.
#
# Python compares a key with those in the table that have the same hash, and hashes of numbers, and of what is made of
# numbers, are easily made the same. Sets of such sets multiply: a few kilobytes of them take days. So what it costs at
# most is counted before, from the hashes alone.

COMPARISONS = 10**8  # of two numbers, that the keys of a message may cost: a few seconds
LOOKED_AT = 50  # comparisons in the time that it takes to count those of one key
OTHERWISE = 10  # comparisons in the time in which two keys of another type than numbers and texts are compared
HASHING_SECONDS = 2.0  # for the keys of a message: a million of them take a tenth of that
CHOSEN = "has too many keys with the same hash, and cannot be copied"


def hash_all(reader, keys, put):
    """Put keys into a set or dict, by `put(start, stop)` for some of them at a time.

    Raises:
        Refused: they are chosen so that it would take for ever.
    """
    hashes, seen = list(map(hash, keys)), set()
    step_by_step(reader, len(keys), lambda start, stop: seen.update(hashes[start:stop]))
    if len(seen) < len(keys):
        for key, alike in keys_alike(keys, hashes):
            compare(reader, (alike - 1) * cost_of_key(reader, key))
    step_by_step(reader, len(keys), put)


def step_by_step(reader, count, put):
    """Put keys into a table, and give up after a while.

    Keys with different hashes can be chosen so that the table is searched through for each.
    """
    if count < 100:
        put(0, count)
        return
    began = time.thread_time()
    for start in range(0, count, 64):
        put(start, start + 64)
        now = time.thread_time()
        reader.hashing += now - began
        began = now
        if reader.hashing > HASHING_SECONDS + reader.size * 2e-8:
            raise Refused(CHOSEN, "copy a list of them")


def keys_alike(keys, hashes):
    """Return those keys that have the hash of another one, each with how many keys have that hash."""
    counts = {}
    for one in hashes:
        counts[one] = counts.get(one, 0) + 1
    return [(key, counts[one]) for key, one in zip(keys, hashes) if counts[one] > 1]


def compare(reader, count):
    """Count comparisons."""
    reader.comparisons += count
    if reader.comparisons > COMPARISONS + reader.size:
        raise Refused(CHOSEN, "copy a list of them")


def cost_of_key(reader, key):
    """Return how many comparisons it takes at most to compare a key with one like it."""
    compare(reader, LOOKED_AT)
    kind = type(key)
    if kind is tuple:
        plain = [type(item) is float or (type(item) is int and -EXACT <= item <= EXACT) for item in key]
        compare(reader, len(key))
        return 1 + sum(1 if is_plain else cost_of_key(reader, item) for item, is_plain in zip(key, plain))
    if kind is frozenset:
        # Each item is looked up in the other set.
        items = list(key)
        alike = {id(item): count for item, count in keys_alike(items, list(map(hash, items)))}
        return 1 + sum(cost_of_key(reader, item) * alike.get(id(item), 1) for item in items)
    if kind is int:
        return 1 + (key.bit_length() // 64) ** 2  # Python makes a Decimal of it to compare it with one
    if kind in (float, bool, type(None)):
        return 1
    return OTHERWISE + sys.getsizeof(key) // 64
