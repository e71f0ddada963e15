"""Looks at many interleavings, or takes the fence out clause by clause: ``python -m tests.simulator --help``."""

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from tests.simulator import explore, mutants
from tests.simulator.world import Setting

CHUNK = 2_000


def look(seeds: range) -> tuple[int, Counter[str], str | None]:
    """Do one random run per seed; return how many, with which events, and the story of a failing one."""
    with explore.installed():
        extent = explore.randomly(seeds)
        story = None
        if extent.found is not None:
            story = f"seed {seeds[extent.runs - 1]}\n{explore.told(extent.found)}"
    return extent.runs, extent.kinds, story


def simulate(interleavings: int, seed: int, workers: int) -> int:
    """Look at random interleavings and print what they were made of."""
    began, runs, kinds = time.monotonic(), 0, Counter[str]()
    ends = range(seed, seed + interleavings, CHUNK)
    with ProcessPoolExecutor(workers) as pool:
        for done, chunk_kinds, story in pool.map(look, [range(s, min(s + CHUNK, seed + interleavings)) for s in ends]):
            runs += done
            kinds += chunk_kinds
            rate = runs / (time.monotonic() - began)
            print(f"\r{runs:,} interleavings, {rate:,.0f} a second", end="", file=sys.stderr, flush=True)
            if story is not None:
                print(f"\n{story}")
                pool.shutdown(cancel_futures=True)
                return 1
    print(f"\n{runs:,} interleavings, seeds {seed} to {seed + interleavings - 1}; with an event of the kind:")
    for kind, number in kinds.most_common():
        print(f"  {kind:<12} {number:>10,}")
    return 0


def exhaust(bound: int) -> int:
    """Look at every interleaving of a one-page scan with up to so many events."""
    with explore.installed():
        extent = explore.exhaustively(Setting(1), bound)
        if extent.found is not None:
            print(explore.told(extent.found))
            return 1
    print(f"{extent.runs:,} runs, and {extent.spared:,} interleavings that join them: all with up to {bound} events")
    return 0


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("simulate", "exhaust", "mutants"), default="simulate")
    parser.add_argument("--interleavings", type=int, default=1_000_000, help="how many; for each mutant, at most")
    parser.add_argument("--seed", type=int, default=0, help="the first of the seeds")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--bound", type=int, default=2, help="of exhaust: how many events")
    given = parser.parse_args()
    if given.what == "mutants":
        return mutants.hunt(min(given.interleavings, mutants.BUDGET), given.seed)
    if given.what == "exhaust":
        return exhaust(given.bound)
    return simulate(given.interleavings, given.seed, given.workers)


if __name__ == "__main__":
    sys.exit(main())
