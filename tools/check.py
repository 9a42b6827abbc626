"""Check a dataset's ground truth; see --help."""

import sys

from smilfit.cli.data.check import main

if __name__ == '__main__':
    sys.exit(main())
