"""Fit a body model to annotated images; see --help."""

import sys

from smilfit.cli.fitting.fit_images import main

if __name__ == '__main__':
    sys.exit(main())
