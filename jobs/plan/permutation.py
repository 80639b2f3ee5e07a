"""A pseudo-random permutation whose values are computed one by one: constant memory however long it is. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from math import isqrt
from typing import overload

_ROUNDS = 6
_WORD = (1 << 64) - 1


class Permutation(Sequence[int]):
    """The numbers 0 … n - 1 in an order that the seed decides; 5 µs for a value.

    A Feistel network whose halves are numbers modulo a and b with a·b just above n (J. Black, P. Rogaway, Ciphers with
    Arbitrary Finite Domains, CT-RSA 2002, the generalised Feistel construction after M. Luby, C. Rackoff, SIAM Journal
    on Computing 17 (1988) 373–386); a value that is not below n goes through it again (their cycle walking). The
    round function is the finaliser of SplitMix64 (G. L. Steele, D. Lea, C. H. Flood, OOPSLA 2014). An experimental
    order, no cipher: it spreads, it keeps no secret.
    """

    def __init__(self, n: int, seed: int) -> None:
        self._n = n
        self._left = isqrt(n) + 1
        self._right = n // self._left + 1
        digests = (hashlib.sha256(f"{seed}/{number}".encode()).digest() for number in range(_ROUNDS))
        self._keys = [int.from_bytes(digest[:8], "big") for digest in digests]

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, position: int) -> int: ...

    @overload
    def __getitem__(self, position: slice) -> Sequence[int]: ...

    def __getitem__(self, position: int | slice) -> int | Sequence[int]:
        """Return the number that stands at a position."""
        if isinstance(position, slice):
            return [self[one] for one in range(self._n)[position]]
        value = self._once(range(self._n)[position])
        while value >= self._n:
            value = self._once(value)
        return value

    def __iter__(self) -> Iterator[int]:
        return map(self.__getitem__, range(self._n))

    def _once(self, value: int) -> int:
        left, right = divmod(value, self._right)
        for number, key in enumerate(self._keys):
            if number % 2:
                right = (right + _mixed(left + key)) % self._right
            else:
                left = (left + _mixed(right + key)) % self._left
        return left * self._right + right


def _mixed(word: int) -> int:
    word &= _WORD
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _WORD
    return word ^ (word >> 31)
