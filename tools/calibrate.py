"""Calibrate cameras; see --help."""

import sys

from smilfit.cli.data.calibrate import main

if __name__ == '__main__':
    sys.exit(main())
