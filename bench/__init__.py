"""The benchmark suite: ``pytest bench`` measures, ``python -m bench.report`` shows. Start with README.md in this folder."""
