"""Overlays, plots, video and the HTML report."""

from smilfit.visualization.benchmark_report import (
    benchmark_figures,
    benchmark_page,
    write_benchmark_folder,
    write_raw_errors,
)
from smilfit.visualization.fit_report import add_fit_sections, fit_summary
from smilfit.visualization.free_views import free_views
from smilfit.visualization.image_files import write_image
from smilfit.visualization.image_report import add_image_sections
from smilfit.visualization.overlays import OverlayPainter, Panel, ShownBody, grid_of_views
from smilfit.visualization.plots import plot_bars, plot_histogram, plot_pck_curves, plot_skeletons
from smilfit.visualization.point_report import add_point_sections
from smilfit.visualization.point_views import PointPainter
from smilfit.visualization.prediction_images import prediction_images
from smilfit.visualization.report import Report, figure_png
from smilfit.visualization.training_plots import plot_fit_stages, plot_training, read_scalars
from smilfit.visualization.validation_overlay_hook import ValidationOverlayHook
from smilfit.visualization.verdict_report import add_verdict
from smilfit.visualization.video import write_video
from smilfit.visualization.windows import View, enlarge, follow, look

__all__ = [
    'OverlayPainter',
    'Panel',
    'PointPainter',
    'Report',
    'ShownBody',
    'ValidationOverlayHook',
    'View',
    'add_fit_sections',
    'add_image_sections',
    'add_point_sections',
    'add_verdict',
    'benchmark_figures',
    'benchmark_page',
    'enlarge',
    'figure_png',
    'fit_summary',
    'follow',
    'free_views',
    'grid_of_views',
    'look',
    'plot_bars',
    'plot_fit_stages',
    'plot_histogram',
    'plot_pck_curves',
    'plot_skeletons',
    'plot_training',
    'prediction_images',
    'read_scalars',
    'write_benchmark_folder',
    'write_image',
    'write_raw_errors',
    'write_video',
]
