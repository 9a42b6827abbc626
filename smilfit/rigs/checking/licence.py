"""What a model may be used for."""

from smilfit.body_models.stored_model import StoredModel
from smilfit.rigs.checking.finding import NOTE, Finding


def licence(model: StoredModel) -> list[Finding]:
    """Find a model that does not say under which licence it is."""
    if model.data.licence:
        return []
    return [Finding('licence', NOTE, '', 'the file states no licence', 'Write down what its authors say.')]
