"""Make a dataset file from recorded sessions; see --help."""

import sys

from smilfit.cli.data.preprocess import main

if __name__ == '__main__':
    sys.exit(main())
