"""What help says of formats is what their readers and options say."""

from dataclasses import asdict

from smilfit.cli.data.format_facts import format_facts, gather_facts
from smilfit.cli.data.preprocess_options import Kept
from smilfit.cli.data.synthesize import Sessions
from smilfit.datasets import PreprocessOptions
from smilfit.synthetic import SynthesisOptions


def test_the_facts_written_down_are_those_of_the_readers():
    assert format_facts() == gather_facts(), 'run `python -m smilfit.cli.data.format_facts`'


def test_defaults_are_those_of_what_would_bring_torch():
    assert asdict(Kept()) == asdict(PreprocessOptions())
    assert {'unit': 'mm'} | asdict(Sessions()) == asdict(SynthesisOptions())
