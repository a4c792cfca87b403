"""Benchmarks on one seeded traffic profile; `python -m bench` writes bench/results.json."""
