"""Test a trained regressor; see --help."""

from smilfit.cli.test import main

if __name__ == '__main__':
    raise SystemExit(main())
