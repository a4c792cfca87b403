"""What pyproject.toml can't say: COMPILE_INGEST=1 compiles the modules that decide about hits, with mypyc.

They are the same modules; a bulk hit costs ingest a quarter less then (docs/performance.md). mypy and a C
compiler must be there. `make compile` does it in a checkout.
"""

import os

from setuptools import setup

DECIDING = ("acceptance", "addresses", "fingerprint", "identity", "site_rules")


def compiled() -> list[object]:
    """Extensions, none unless asked for."""
    if os.environ.get("COMPILE_INGEST") != "1":
        return []
    from mypyc.build import mypycify

    sources = [f"ingest/{name}.py" for name in DECIDING]
    return list(mypycify(sources, opt_level="3", group_name="ingest.deciding", target_dir="build/mypyc"))


setup(ext_modules=compiled())
