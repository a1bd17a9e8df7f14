"""The pipeline: its DAG, its compiled form, and what runs it on one machine."""
