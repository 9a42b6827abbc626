"""Every hostile pickle by name; each is the content of a body model's .pkl that must be refused."""

from tests.hostile.attacks_by_name import attacks_by_name
from tests.hostile.attacks_on_arrays import attacks_on_arrays
from tests.hostile.attacks_on_size import attacks_on_size
from tests.hostile.wrong_types import wrong_types


def hostile_pickles() -> dict[str, bytes]:
    """Make them all; none is larger than some MB, and most are small."""
    return attacks_by_name() | attacks_on_arrays() | attacks_on_size() | wrong_types()
