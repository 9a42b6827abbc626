"""Adapt a trained regressor to one recording; see --help."""

import sys

from smilfit.cli.networks.adapt import main

if __name__ == '__main__':
    sys.exit(main())
