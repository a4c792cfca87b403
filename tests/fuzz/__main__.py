"""`make fuzz`: a coverage-guided search for input that makes a parser raise (atheris, libFuzzer).

    python -m tests.fuzz [TARGET ...] [--seconds 60]

Each target runs in a process of its own. What breaks it is kept in .fuzz/TARGET/crash-*; the inputs that
found new paths stay there as well, so the next run goes on where this one ended."""

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
LARGEST_INPUT = 4096


def run_target(name: str, seconds: int, place: Path) -> int:
    """Fuzz in this process, which ends with the search."""
    import atheris

    instrumented = ("ingest", "rules", "reporting.segments", "reporting.parameters")
    with atheris.instrument_imports(include=list(instrumented)):
        from tests.fuzz import targets

    corpus = place / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(targets.SEEDS[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [f"-max_total_time={seconds}", f"-max_len={LARGEST_INPUT}", "-timeout=60", "-rss_limit_mb=2048"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={corpus}/", str(corpus)], targets.TARGETS[name])
    atheris.Fuzz()
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", help="default: all")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--place", type=Path, default=HERE.parent.parent / ".fuzz")
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed (pip install atheris; it has no wheels for some systems): not fuzzed")
        return 0
    if options.one:
        return run_target(options.one, options.seconds, options.place)
    from tests.fuzz.targets import TARGETS  # not before: what is fuzzed must be imported instrumented

    if unknown := set(options.targets) - set(TARGETS):
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    broken = []
    for name in options.targets or TARGETS:
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", "tests.fuzz", "--one", name, "--seconds", str(options.seconds)]
        if subprocess.run([*command, "--place", str(options.place)], check=False).returncode:
            broken.append(name)
    print("broken: " + ", ".join(broken) if broken else "nothing broke")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
