"""Copies the metadata of a GGUF file, without its tensors, into a gzip file: vocab_only.py MODEL.gguf OUT.gguf.gz"""

import gzip
import struct
import sys

FIXED = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # value type -> bytes
STRING, ARRAY = 8, 9


def value_end(data, pos, kind):
    """Where the value of this type that starts at pos ends."""
    if kind == STRING:
        return pos + 8 + struct.unpack_from("<Q", data, pos)[0]
    if kind == ARRAY:
        element, count = struct.unpack_from("<IQ", data, pos)
        pos += 12
        for _ in range(count):
            pos = value_end(data, pos, element)
        return pos
    return pos + FIXED[kind]


def main(source, target):
    with open(source, "rb") as file:
        data = file.read()
    magic, version, _, keys = struct.unpack_from("<4sIQQ", data)
    pos = 24
    for _ in range(keys):
        pos = value_end(data, pos, STRING)
        pos = value_end(data, pos + 4, *struct.unpack_from("<I", data, pos))
    header = struct.pack("<4sIQQ", magic, version, 0, keys)
    with open(target, "wb") as file:
        file.write(gzip.compress(header + data[24:pos], 9, mtime=0))


main(*sys.argv[1:])
