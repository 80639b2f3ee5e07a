"""Sort numbers; what is measured by `script.yaml`. The study replaces the values of the two globals."""

import random

n = 10_000
presorted = False


def main():
    """Sort once; the returned mapping becomes the metrics."""
    numbers = list(range(n)) if presorted else random.sample(range(n), n)
    numbers.sort()
    return {"numbers": n}
