"""Register a body model to scanned meshes; see --help."""

import sys

from smilfit.cli.fitting.register import main

if __name__ == '__main__':
    sys.exit(main())
