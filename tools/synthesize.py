"""Render training sessions of a body model; see --help."""

import sys

from smilfit.cli.data.synthesize import main

if __name__ == '__main__':
    sys.exit(main())
