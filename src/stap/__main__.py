"""`python -m stap`: the command line, for `torchrun -m stap train ...`."""

import sys

from stap.cli import main

sys.exit(main())
