"""Test a trained regressor; see --help."""

from smilfit.cli.networks.testing import main

if __name__ == '__main__':
    raise SystemExit(main())
