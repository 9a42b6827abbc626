"""What help says of formats is what their readers and options say."""

from smilfit.cli.data.format_facts import format_facts, gather_facts


def test_the_facts_written_down_are_those_of_the_readers():
    assert format_facts() == gather_facts(), 'run `python -m smilfit.cli.data.format_facts`'
