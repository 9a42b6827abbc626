"""Fit a body model to a dataset file; see --help."""

import sys

from smilfit.cli.fitting.fit import main

if __name__ == '__main__':
    sys.exit(main())
