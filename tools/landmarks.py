"""Propose a joint lookup for annotations of a body model; see --help."""

import sys

from smilfit.cli.data.landmarks import main

if __name__ == '__main__':
    sys.exit(main())
