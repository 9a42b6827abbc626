"""What a notebook or a command calls: preprocess, synthesize, fit, fit_images, train, test, infer and
export.

Nothing here parses a command line or prints. The names below are imported when they are first used, so a command's
--help stays quick.
"""

from smilfit.lazy_names import lazy_names

_PUBLIC = {
    'ConvertedCheckpoint': 'smilfit.smilify.checkpoint',
    'ConvertedConfig': 'smilfit.smilify.config',
    'CalibrationRun': 'smilfit.cameras.calibrate',
    'CheckRun': 'smilfit.apis.checking',
    'ComparisonRun': 'smilfit.networks.tasks.evaluating',
    'DataSource': 'smilfit.apis.preprocessing.data_source',
    'EvaluationRun': 'smilfit.networks.tasks.evaluating',
    'ExportRun': 'smilfit.networks.tasks.onnx_export',
    'FitExport': 'smilfit.apis.fitting.fit_exporting',
    'FitImagesRun': 'smilfit.apis.fitting.fit_run',
    'FitRun': 'smilfit.apis.fitting.fit_run',
    'FrameOptions': 'smilfit.apis.infer_options',
    'InferenceOutputs': 'smilfit.apis.infer_options',
    'InferenceRun': 'smilfit.networks.inference.infer',
    'LookupProposal': 'smilfit.apis.preprocessing.lookup_proposal',
    'MeasuringRun': 'smilfit.scans.measure',
    'PreprocessPlan': 'smilfit.apis.preprocessing.make_dataset',
    'PreprocessRun': 'smilfit.apis.preprocessing.make_dataset',
    'Progress': 'smilfit.apis.progress',
    'ShapeSpaceRun': 'smilfit.scans.make_shape_space',
    'SynthesisInputs': 'smilfit.apis.synthesis_options',
    'SynthesisRun': 'smilfit.synthetic.synthesize',
    'SourceOptions': 'smilfit.apis.infer_options',
    'LabelSources': 'smilfit.networks.tasks.labels_of_fits',
    'PseudoLabelRun': 'smilfit.networks.tasks.pseudo_labelling',
    'RegistrationRun': 'smilfit.scans.register',
    'TrainRun': 'smilfit.networks.tasks.training',
    'AdaptationRun': 'smilfit.networks.video.adapt',
    'adapt': 'smilfit.networks.video.adapt',
    'calibrate_boards': 'smilfit.cameras.calibrate',
    'calibrate_camera_by_boards': 'smilfit.cameras.calibrate',
    'calibrate_camera': 'smilfit.cameras.calibrate',
    'check_data': 'smilfit.apis.checking',
    'check_training': 'smilfit.networks.tasks.training',
    'convert_smilify_checkpoint': 'smilfit.smilify.checkpoint',
    'convert_smilify_config': 'smilfit.smilify.config',
    'compare': 'smilfit.networks.tasks.evaluating',
    'describe_images': 'smilfit.networks.animer.describing',
    'export': 'smilfit.networks.tasks.onnx_export',
    'export_fit': 'smilfit.apis.fitting.fit_exporting',
    'fit': 'smilfit.apis.fitting.fit_run',
    'fit_images': 'smilfit.apis.fitting.fit_run',
    'infer': 'smilfit.networks.inference.infer',
    'make_shape_space': 'smilfit.scans.make_shape_space',
    'measure': 'smilfit.scans.measure',
    'make_pseudo_labels': 'smilfit.networks.tasks.pseudo_labelling',
    'read_pseudo_labels': 'smilfit.networks.tasks.labels_of_fits',
    'plan_preprocess': 'smilfit.apis.preprocessing.make_dataset',
    'preprocess': 'smilfit.apis.preprocessing.make_dataset',
    'propose_joint_lookup': 'smilfit.apis.preprocessing.lookup_proposal',
    'register': 'smilfit.scans.register',
    'synthesize': 'smilfit.synthetic.synthesize',
    'test': 'smilfit.networks.tasks.evaluating',
    'train': 'smilfit.networks.tasks.training',
}

__all__ = [*_PUBLIC]
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
