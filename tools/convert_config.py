"""Convert a JSON config of SMILify; see --help."""

from smilfit.cli.networks.convert_config import main

if __name__ == '__main__':
    raise SystemExit(main())
