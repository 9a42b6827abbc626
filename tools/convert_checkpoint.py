"""Convert a checkpoint of SMILify or AniMer; see --help."""

from smilfit.cli.networks.convert_checkpoint import main

if __name__ == '__main__':
    raise SystemExit(main())
