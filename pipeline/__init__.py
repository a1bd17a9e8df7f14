"""The pipeline: its DAG, its compiled form and the runners."""
