"""Train a regressor; see --help."""

from smilfit.cli.networks.train import main

if __name__ == '__main__':
    raise SystemExit(main())
