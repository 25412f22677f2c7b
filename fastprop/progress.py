"""A progress bar: by tqdm if installed, else by rich, else plain lines; always on stderr, so that results can be piped."""

import sys
from contextlib import contextmanager


@contextmanager
def progress(total, unit):
    """Yield ``advance(n, doing)``, which reports that n more of ``total`` units are done and what comes next."""
    for bar in (_tqdm, _rich, _plain):
        try:
            manager = bar(total, unit)
        except ImportError:
            continue
        with manager as advance:
            yield advance
        return


def _tqdm(total, unit):
    from tqdm import tqdm

    @contextmanager
    def bar():
        with tqdm(total=total, unit=f" {unit}", file=sys.stderr) as inner:

            def advance(n, doing):
                inner.set_description(doing, refresh=False)
                inner.update(n)
                inner.refresh()

            yield advance

    return bar()


def _rich(total, unit):
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    @contextmanager
    def bar():
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit)
        with Progress(*columns, console=Console(stderr=True)) as inner:
            task = inner.add_task("", total=total)
            yield lambda n, doing: inner.update(task, advance=n, description=doing)

    return bar()


@contextmanager
def _plain(total, unit):
    done = 0

    def advance(n, doing):
        nonlocal done
        done += n
        if n:
            print(f"{done:>6}/{total} {unit}  {doing}", file=sys.stderr, flush=True)

    yield advance
