"""What a notebook or a command calls: preprocess, synthesize, fit, fit_images, train, test, infer and
export.

Nothing here parses a command line or prints. The names below are imported when they are first used, so a command's
--help stays quick.
"""

from importlib import import_module

_PUBLIC = {
    'ConvertedCheckpoint': 'smilfit.smilify.checkpoint',
    'ConvertedConfig': 'smilfit.smilify.config',
    'CalibrationRun': 'smilfit.apis.calibrating',
    'CheckRun': 'smilfit.apis.checking',
    'ComparisonRun': 'smilfit.apis.comparing',
    'DataSource': 'smilfit.apis.data_source',
    'EvaluationRun': 'smilfit.apis.testing',
    'ExportRun': 'smilfit.apis.onnx_export',
    'FitExport': 'smilfit.apis.fit_exporting',
    'FitImagesRun': 'smilfit.apis.image_fitting',
    'FitRun': 'smilfit.apis.fit_run',
    'FrameOptions': 'smilfit.apis.infer_options',
    'InferenceOutputs': 'smilfit.apis.infer_options',
    'InferenceRun': 'smilfit.apis.inference',
    'LookupProposal': 'smilfit.apis.lookup_proposal',
    'MeasuringRun': 'smilfit.apis.measuring',
    'PreprocessPlan': 'smilfit.apis.preprocessing',
    'PreprocessRun': 'smilfit.apis.preprocessing',
    'Progress': 'smilfit.apis.progress',
    'ShapeSpaceRun': 'smilfit.apis.shape_spaces',
    'SynthesisInputs': 'smilfit.apis.synthesis_options',
    'SynthesisRun': 'smilfit.apis.synthesizing',
    'SourceOptions': 'smilfit.apis.infer_options',
    'LabelSources': 'smilfit.apis.pseudo_label_files',
    'PseudoLabelRun': 'smilfit.apis.pseudo_labels',
    'RegistrationRun': 'smilfit.apis.registering',
    'TrainRun': 'smilfit.apis.training',
    'calibrate_boards': 'smilfit.apis.calibrating',
    'calibrate_camera_by_boards': 'smilfit.apis.calibrating',
    'calibrate_camera': 'smilfit.apis.calibrating',
    'check_data': 'smilfit.apis.checking',
    'check_training': 'smilfit.apis.training',
    'convert_smilify_checkpoint': 'smilfit.smilify.checkpoint',
    'convert_smilify_config': 'smilfit.smilify.config',
    'compare': 'smilfit.apis.comparing',
    'export': 'smilfit.apis.onnx_export',
    'export_fit': 'smilfit.apis.fit_exporting',
    'fit': 'smilfit.apis.fitting',
    'fit_images': 'smilfit.apis.image_fitting',
    'infer': 'smilfit.apis.inference',
    'make_shape_space': 'smilfit.apis.shape_spaces',
    'measure': 'smilfit.apis.measuring',
    'make_pseudo_labels': 'smilfit.apis.pseudo_labels',
    'read_pseudo_labels': 'smilfit.apis.pseudo_label_files',
    'plan_preprocess': 'smilfit.apis.preprocessing',
    'preprocess': 'smilfit.apis.preprocessing',
    'propose_joint_lookup': 'smilfit.apis.lookup_proposal',
    'register': 'smilfit.apis.registering',
    'synthesize': 'smilfit.apis.synthesizing',
    'test': 'smilfit.apis.testing',
    'train': 'smilfit.apis.training',
}

__all__ = [*_PUBLIC]


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted(__all__)
