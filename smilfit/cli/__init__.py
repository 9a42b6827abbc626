"""The command line: argparse to one call; the only room that prints."""
