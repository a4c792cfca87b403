"""The processor as it is, but it looks every fifth of a second whether hits have left the journal:
`python -m tests.faults.eager processor`.

In the product that is every half minute of a process's life, and here none lives that long. Without it no hit
would be too late for the journal."""

import sys

import processors.journal
from hitstream.command import main

if __name__ == "__main__":
    processors.journal._TRIM_EVERY_SECONDS = 0.2
    sys.exit(main(sys.argv[1:]))
