"""Predict bodies in raw videos, images or a dataset file; see --help."""

import sys

from smilfit.cli.networks.infer import main

if __name__ == '__main__':
    sys.exit(main())
