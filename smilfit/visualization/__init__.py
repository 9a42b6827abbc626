"""Overlays, plots, video and the HTML report."""

from smilfit.visualization.benchmark_report import (
    benchmark_figures,
    benchmark_page,
    write_benchmark_folder,
    write_raw_errors,
)
from smilfit.visualization.fit_report import add_fit_sections, fit_summary
from smilfit.visualization.image_report import add_image_sections
from smilfit.visualization.overlays import (
    box_around,
    cut,
    draw_keypoints,
    draw_label,
    draw_legend,
    draw_mesh,
    grid_of_views,
)
from smilfit.visualization.plots import plot_bars, plot_histogram, plot_pck_curves, plot_skeletons
from smilfit.visualization.report import Report, figure_png
from smilfit.visualization.training_plots import plot_fit_stages, plot_training, read_scalars
from smilfit.visualization.video import write_video
from smilfit.visualization.windows import WindowView, follow, look, overlay_frames

__all__ = [
    'Report',
    'WindowView',
    'add_fit_sections',
    'add_image_sections',
    'benchmark_figures',
    'benchmark_page',
    'box_around',
    'cut',
    'draw_keypoints',
    'draw_label',
    'draw_legend',
    'draw_mesh',
    'figure_png',
    'fit_summary',
    'follow',
    'grid_of_views',
    'look',
    'overlay_frames',
    'plot_bars',
    'plot_fit_stages',
    'plot_histogram',
    'plot_pck_curves',
    'plot_skeletons',
    'plot_training',
    'read_scalars',
    'write_benchmark_folder',
    'write_raw_errors',
    'write_video',
]
