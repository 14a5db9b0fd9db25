#!/usr/bin/env python3
"""flip.py: flip bits in the values of a toast table, on disk.

    flip.py FILE SEED

FILE is the first segment of a toast table of a server that is stopped.  In each
value (chunk_id) a bit is flipped, or a few, or a run of bytes overwritten, at a
place drawn from the seed, in the bytes of the value itself: what happens to a
page's or tuple's header is PostgreSQL's business.  Prints how many values were
damaged.
"""
import random
import struct
import sys

PAGE = 8192


def chunks(data):
    """Where the bytes of chunks lie: {chunk_id: [(offset, length)]}."""
    values = {}
    for page in range(0, len(data), PAGE):
        lower = struct.unpack_from("<H", data, page + 12)[0]
        for pointer in range(page + 24, page + lower, 4):
            word = struct.unpack_from("<I", data, pointer)[0]
            offset, flags, length = word & 0x7FFF, (word >> 15) & 3, word >> 17
            if flags != 1 or length == 0:
                continue
            start = page + offset
            start += data[start + 22]  # t_hoff
            chunk = struct.unpack_from("<I", data, start)[0]
            start += 8  # chunk_id, chunk_seq
            if data[start] & 1:  # a header of one byte
                size, skip = data[start] >> 1, 1
            else:
                size, skip = struct.unpack_from("<I", data, start)[0] >> 2, 4
            values.setdefault(chunk, []).append((start + skip, size - skip))
    return values


def main(path, seed):
    draw = random.Random(seed)
    with open(path, "rb") as file:
        data = bytearray(file.read())
    values = chunks(data)
    for number, chunk in enumerate(sorted(values)):
        # the header and the first section are small: hit them often enough
        parts = values[chunk]
        zone = data.find(b"TZON", parts[0][0], parts[0][0] + parts[0][1])
        if number % 20 == 0 and zone >= 0:
            data[zone] ^= 0x20  # a section that may be skipped, by its name
            continue
        start, size = parts[0] if draw.random() < 0.3 else draw.choice(parts)
        if draw.random() < 0.2:
            size = min(size, 200)
        for _ in range(draw.choice((1, 1, 1, 2, 5))):
            data[start + draw.randrange(size)] ^= 1 << draw.randrange(8)
        if draw.random() < 0.1:
            at = draw.randrange(size)
            for i in range(at, min(at + draw.randrange(1, 64), size)):
                data[start + i] = draw.randrange(256)
    with open(path, "r+b") as file:
        file.write(data)
    print(len(values))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
