"""A fixed pseudo-random permutation of the integers below any bound, without listing them."""

from __future__ import annotations

from hashlib import blake2b

ROUNDS = 8


def shuffled(position: int, size: int, seed: int) -> int:
    """The number at a position of the permutation of 0 ... size - 1 given by `seed`.

    A sample is a prefix of it, so a larger sample contains every smaller one. A Feistel network permutes the numbers of
    as many bits; a result beyond the size is permuted again, fewer than four times on average (cycle walking: Black and
    Rogaway, "Ciphers with arbitrary finite domains", 2002).
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    while True:
        left, right = position >> half, position & ((1 << half) - 1)
        for turn in range(ROUNDS):
            left, right = right, left ^ scrambled(right, turn, half, seed)
        position = left << half | right
        if position < size:
            return position


def scrambled(value: int, turn: int, bits: int, seed: int) -> int:
    """Pseudo-random bits that depend on all arguments."""
    width = (bits + 7) // 8
    text = f"{seed}:{turn}:{value}".encode()
    return int.from_bytes(blake2b(text, digest_size=min(width, 64)).digest(), "big") & ((1 << bits) - 1)
