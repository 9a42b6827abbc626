"""Overlays, plots, video and the HTML report.

The names below are imported when they are first used: a fit need not wait for what trains or plots.
"""

from smilfit.lazy_names import lazy_names

_PUBLIC = {
    'OverlayPainter': 'overlays',
    'Panel': 'overlays',
    'PointPainter': 'far_views',
    'Report': 'report',
    'ShownBody': 'overlays',
    'ValidationOverlayHook': 'validation_overlay_hook',
    'View': 'windows',
    'add_fit_sections': 'fit_page',
    'add_image_sections': 'fit_page',
    'add_point_sections': 'fit_page',
    'add_verdict': 'fit_page',
    'benchmark_figures': 'benchmark_report',
    'benchmark_page': 'benchmark_report',
    'enlarge': 'windows',
    'figure_png': 'report',
    'fit_summary': 'fit_page',
    'follow': 'windows',
    'free_views': 'far_views',
    'grid_of_views': 'overlays',
    'look': 'windows',
    'plot_bars': 'plots',
    'plot_fit_stages': 'plots',
    'plot_histogram': 'plots',
    'plot_pck_curves': 'plots',
    'plot_skeletons': 'plots',
    'plot_training': 'plots',
    'prediction_images': 'validation_overlay_hook',
    'read_scalars': 'plots',
    'write_benchmark_folder': 'benchmark_report',
    'write_image': 'video',
    'write_raw_errors': 'benchmark_report',
    'write_video': 'video',
}

__all__ = [*_PUBLIC]
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
