"""Look at a fit, a body model or a recording in the browser; see --help."""

import sys

from smilfit.cli.fitting.view import main

if __name__ == '__main__':
    sys.exit(main())
