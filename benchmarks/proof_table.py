"""The table of `benchmarks.align_proof`."""


class Table:
    """Prints rows, and keeps the names of those that do not hold."""

    def __init__(self):
        self.failed: list[str] = []

    def head(self, problem):
        """Begins a part."""
        titles = ("optimum", "expected", "reached", "distance", "allowed")
        print(
            f"\n{problem:30} {titles[0]:12}" + "".join(f"{t:>10}" for t in titles[1:])
        )

    def row(self, name, optimum, expected, reached, distance, bound, miss=False):
        """One row; with `miss` the distance must be above the bound."""
        numbers = "".join(f"{x:10.4f}" for x in (expected, reached, distance))
        mark = ">" if miss else ""
        print(f"{name:30} {optimum:12}{numbers}{f'{mark}{bound:g}':>10}", flush=True)
        if not (distance > bound if miss else distance <= bound):
            self.failed.append(name)
