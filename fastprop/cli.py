"""The command line: ``fastprop demo`` trains on real data next to scikit-learn, ``fastprop info`` prints the configuration."""

import argparse
import os
import sys

from . import __version__


def main(argv=None):
    """Run one command and return its exit status: 0, 1 for a demo whose weights are wrong, 2 for wrong arguments."""
    try:
        status = _run(argv)
        sys.stdout.flush()
    except BrokenPipeError:  # of a reader that has seen enough, such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def _run(argv):
    parser = argparse.ArgumentParser(prog="fastprop", description="Multi-layer perceptrons on compiled kernels.")
    parser.add_argument("--version", action="version", version=f"fastprop {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="{demo,info}")

    demo = commands.add_parser(
        "demo",
        help="train on the digits data next to scikit-learn and NumPy, and compare",
        description="Train fastprop.MLPClassifier, scikit-learn's MLPClassifier and a network in plain NumPy on the digits data "
        "of scikit-learn (1347 images to train, 450 to test), from one seed, and compare time, accuracy and weights.",
    )
    demo.add_argument("--plot", metavar="FILE.png", help="draw the loss curves into this file (needs matplotlib)")
    demo.add_argument("--epochs", type=_positive, default=100, metavar="N", help="the largest number of epochs (default: 100)")
    demo.add_argument("--dtype", choices=["float32", "float64"], default="float64", help="default: float64")
    demo.add_argument("--threads", type=_positive, default=1, metavar="N", help="for each of the three networks (default: 1)")
    commands.add_parser("info", help="print the back end that runs and why, threads and versions")

    arguments = parser.parse_args(argv)
    if arguments.command == "info":
        from .config import show_config

        show_config()
        return 0

    try:
        from . import needs_scikit_learn  # noqa: F401 - here, because `info` does without
    except ImportError as error:
        print(f"fastprop demo: {error}", file=sys.stderr)
        return 2
    from .demo import DemoError, run_demo

    try:
        run_demo(arguments.epochs, arguments.dtype, arguments.threads, arguments.plot)
    except DemoError as error:
        print(f"fastprop demo: {error}", file=sys.stderr)
        return error.status
    return 0


def _positive(text):
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text}")
    return int(text)
