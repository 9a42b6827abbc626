"""The main job from end to end on a made animal; see --help."""

import sys

from smilfit.cli.demo import main

if __name__ == '__main__':
    sys.exit(main())
