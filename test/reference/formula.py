"""Numbers that both sides of a comparison compute for themselves, so that no
data need be stored.  The C side is in test/unit/reference.h."""
import math


def phase(a, i):
    """Between -1 and 1, without visible order."""
    return math.sin(a + 0.73 * i + 0.011 * i * i)
