"""The unit: stated, known, and such that an animal can have the size."""

from smilfit.body_models.stored_model import StoredModel
from smilfit.rigs.checking.finding import ERROR, WARNING, Finding
from smilfit.rigs.checking.limbs import legs_of_arthropods
from smilfit.structures.units import MILLIMETRES

# Of lengths that are of no unit on purpose.
RELATIVE_UNITS = ('body length',)
# Mites are a tenth of a millimetre; blue whales are 33 m.
LEAST_MM, GREATEST_MM = 0.05, 40_000.0
# A stick insect with its legs stretched is 0.65 m; spider crabs are the exception, hence a warning.
GREATEST_ARTHROPOD_MM = 700.0


def size(model: StoredModel) -> list[Finding]:
    """Find a unit that is missing, unknown, or makes the animal impossibly small or large."""
    unit, longest = model.data.unit, model.size
    where = f'unit {unit!r}' if unit else ''
    if unit is None:
        what = f'the file states no unit; the mesh is {longest:.4g} units long'
        advice = 'Give it by `smilfit model clean --unit mm`: nothing can be said in mm without.'
        return [Finding('unit', WARNING, where, what, advice)]
    if unit in RELATIVE_UNITS:
        return []
    if unit not in MILLIMETRES:
        what, advice = 'this unit is not known', f'Known are {", ".join((*MILLIMETRES, *RELATIVE_UNITS))}.'
        return [Finding('unit', WARNING, where, what, advice)]
    millimetres = longest * MILLIMETRES[unit]
    figures = {'size_mm': millimetres}
    if not LEAST_MM <= millimetres <= GREATEST_MM:
        what = f'the animal would be {length_in_words(millimetres)} long, which no animal is'
        return [Finding('unit', ERROR, where, what, _advice(millimetres), figures=figures)]
    if millimetres > GREATEST_ARTHROPOD_MM and (legs := legs_of_arthropods(model.data)):
        what = (
            f'the animal would be {length_in_words(millimetres)} long and has {len(legs)} pairs of legs '
            f'({", ".join(legs)}), as insects, spiders and crabs have'
        )
        return [Finding('unit', WARNING, where, what, _advice(millimetres), figures=figures)]
    return []


def length_in_words(millimetres: float) -> str:
    """Say a length in the unit that gives it few digits."""
    for unit, factor in (('m', 1000.0), ('mm', 1.0)):
        if millimetres >= factor:
            return f'{millimetres / factor:.3g} {unit}'
    return f'{1000 * millimetres:.3g} um'


def _advice(millimetres: float) -> str:
    factor = 1000.0 if millimetres > 1.0 else 0.001
    return f'A factor of 1000 is usual: is it {length_in_words(millimetres / factor)}? Give the right unit.'
