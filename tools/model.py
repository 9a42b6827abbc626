"""Import, check, convert and measure rigged models; see --help."""

import sys

from smilfit.cli.models import main

if __name__ == '__main__':
    sys.exit(main())
