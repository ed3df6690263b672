"""Arithmetic of many kinds, as lines of text: the same program must print the same wherever it runs.

    check.py [functions] [full]

"functions" adds those of the mathematical library; "full" prints long lines themselves instead of their checksums.
"""

import hashlib
import math
import struct
import sys
import zlib

DIGEST = hashlib.sha256()


def show(label, value):
    line = f"{label}: {value}"
    DIGEST.update(line.encode() + b"\n")
    print(line if len(line) < 150 or "full" in sys.argv else f"{label}: sha256 {hashlib.sha256(line.encode()).hexdigest()}")


def numbers(seed, count):
    """64-bit numbers, always the same: the multiplier and the increment are Knuth's."""
    for _ in range(count):
        seed = (seed * 6364136223846793005 + 1442695040888963407) % 2**64
        yield seed


def floats(seed, count):
    """Doubles of every size, from their bits; no infinities and no NaNs."""
    for bits in numbers(seed, count):
        value = struct.unpack("<d", struct.pack("<Q", bits))[0]
        if math.isfinite(value):
            yield value


def moderate(seed, count):
    for bits in numbers(seed, count):
        yield (bits / 2**64 - 0.5) * 200


def integers():
    show("small", [(a // b, a % b, a & b, a ^ b, a * b) for a in (7, -7, 2**31, -(2**31)) for b in (3, -3, 65537)])
    show("factorial", math.factorial(400))
    show("fibonacci", pow(2, 5000, 10**300 + 7))
    show("power", 3**2000 // 7**500)
    show("square root", math.isqrt(10**301))
    show("inverse", pow(123456789, -1, 2**127 - 1))
    show("divisor", math.gcd(math.factorial(60), 3**70 * 2**30))
    show("shifts", [hash((a << n) - (a >> (n // 2))) for a in numbers(1, 4) for n in (1, 31, 32, 63, 64, 200)])
    show("decimal", str(7**3000)[-200:])
    show("bits", [(a.bit_length(), a.bit_count()) for a in numbers(2, 40)])


def floating_point():
    values = list(floats(3, 300))
    show("repr", [repr(value) for value in values])
    show("read back", sum(float(repr(value)) == value for value in values))
    show("hex", [value.hex() for value in values])
    show("format", [f"{value:.17g} {value:.3e} {value:.0f}" for value in moderate(4, 100)])
    pairs = list(zip(moderate(5, 200), moderate(6, 200)))
    show("sums", [(a + b).hex() for a, b in pairs])
    show("products", [(a * b).hex() for a, b in pairs])
    show("quotients", [(a / b).hex() for a, b in pairs])
    show("remainders", [(math.fmod(a, b).hex(), a % b, math.remainder(a, b).hex()) for a, b in pairs])
    show("square roots", [math.sqrt(abs(a)).hex() for a, _ in pairs])
    show("rounding", [(round(a), round(a, 3), math.floor(a), math.ceil(a), math.trunc(a)) for a, _ in pairs])
    show("parts", [(math.frexp(a), math.modf(a), math.ldexp(a, -70)) for a in values[:100]])
    show("single", [struct.pack("<f", a).hex() for a, _ in pairs])
    show("exact sum", math.fsum(a for a, _ in pairs).hex())
    show("neighbours", [(math.nextafter(a, 1e9).hex(), math.ulp(a).hex()) for a, _ in pairs[:50]])
    show("tiny", [(5e-324 * n / 3).hex() for n in range(20)])
    show("huge", [1e308 * 10, -1e308 * 10, float("inf") - float("inf"), 1e-320 / 1e10])


def functions():
    """Only where the library computes them with SSE2: x87's own functions may differ between processors."""
    names = ("sin", "cos", "tan", "atan", "exp", "expm1", "sinh", "tanh", "asinh", "erf", "cbrt")
    for name in names:
        show(name, [getattr(math, name)(a / 10).hex() for a in moderate(7, 100)])
    for name in ("log", "log2", "log10", "log1p", "lgamma"):
        show(name, [getattr(math, name)(abs(a)).hex() for a in moderate(8, 100)])
    show("pow", [math.pow(abs(a), b / 9).hex() for a, b in zip(moderate(9, 100), moderate(10, 100))])
    show("hypot", [math.hypot(a, b, a * b).hex() for a, b in zip(moderate(11, 100), moderate(12, 100))])


def bytes_and_objects():
    data = b"".join(struct.pack("<Q", number) for number in numbers(13, 4000))
    text = "".join(chr(32 + byte % 90) for byte in data)
    show("pack", struct.pack("<bHiqfd", -3, 65535, -(2**31), 2**62, 1.5, -0.1).hex())
    for name in ("md5", "sha1", "sha256", "sha512", "sha3_256", "blake2b"):
        show(name, hashlib.new(name, data, usedforsecurity=False).hexdigest())
    show("checksums", (zlib.crc32(data), zlib.adler32(data)))
    packed = zlib.compress(text.encode(), 9)
    show("compressed", (len(packed), hashlib.sha256(packed).hexdigest(), zlib.decompress(packed).decode() == text))
    words = text.split("A")
    counted = {}
    for word in words:
        counted[word[:2]] = counted.get(word[:2], 0) + 1
    show("sorted", sorted(words, key=lambda word: (len(word), word))[:50])
    show("counted", sorted(counted.items()))
    show("upper", text.upper().count("Q") + text.title().count("q"))


def main():
    integers()
    floating_point()
    if "functions" in sys.argv:
        functions()
    bytes_and_objects()
    print("all:", DIGEST.hexdigest())


main()
