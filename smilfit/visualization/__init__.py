"""Overlays, plots, video and the HTML report.

The names below are imported when they are first used: a fit need not wait for what trains or plots.
"""

from smilfit.lazy_names import lazy_names

_PUBLIC = {
    'OverlayPainter': 'overlays',
    'Panel': 'overlays',
    'PointPainter': 'point_views',
    'Report': 'report',
    'ShownBody': 'overlays',
    'ValidationOverlayHook': 'validation_overlay_hook',
    'View': 'windows',
    'add_fit_sections': 'fit_report',
    'add_image_sections': 'image_report',
    'add_point_sections': 'point_report',
    'add_verdict': 'verdict_report',
    'benchmark_figures': 'benchmark_report',
    'benchmark_page': 'benchmark_report',
    'enlarge': 'windows',
    'figure_png': 'report',
    'fit_summary': 'fit_report',
    'follow': 'windows',
    'free_views': 'free_viewpoints',
    'grid_of_views': 'overlays',
    'look': 'windows',
    'plot_bars': 'plots',
    'plot_fit_stages': 'training_plots',
    'plot_histogram': 'plots',
    'plot_pck_curves': 'plots',
    'plot_skeletons': 'plots',
    'plot_training': 'training_plots',
    'prediction_images': 'prediction_overlays',
    'read_scalars': 'training_plots',
    'write_benchmark_folder': 'benchmark_report',
    'write_image': 'image_files',
    'write_raw_errors': 'benchmark_report',
    'write_video': 'video',
}

__all__ = [*_PUBLIC]
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
