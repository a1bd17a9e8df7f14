"""Pages that stages and runners write; each has a module of its own."""

from flts.report.evaluation_page import evaluation_page
from flts.report.forecast_page import forecast_page
from flts.report.preprocess_page import preprocess_page
from flts.report.run_page import run_page
from flts.report.training_page import training_page, training_plots

__all__ = ["evaluation_page", "forecast_page", "preprocess_page", "run_page", "training_page", "training_plots"]
