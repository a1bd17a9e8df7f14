"""Training: fit, score, bundle, record.

The words for a training, in the order of its life: a ``TrainingSpec`` says what is to be trained; a ``Fit`` has
learned; a ``Trained`` is scored and bundled; a ``Publication`` is what MLflow gets of it, on a ``Shelf`` while MLflow
cannot take it; an ``Outcome`` is what the stage hands on. The ``Claim`` on a spec says which ``TrainingRun`` it has.
"""
