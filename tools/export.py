"""Write a fit for other programs, or a network as ONNX; see --help."""

from smilfit.cli.fitting.export import main

if __name__ == '__main__':
    raise SystemExit(main())
