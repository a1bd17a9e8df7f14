"""The pipeline: its DAG, its compiled form, and a runner for one machine."""
