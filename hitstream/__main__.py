"""`python -m hitstream`: the same as the command `hitstream`."""

import sys

from hitstream.command import main

sys.exit(main())
