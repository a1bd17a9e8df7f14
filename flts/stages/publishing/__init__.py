"""Publishing: a finished model becomes an MLflow run with a logged model, once for the same inputs.

Trainers publish what they trained, and eval the ensemble that it promotes: a ``Publication`` is logged to the one run
of its ``TrainingSpec``, and kept in an ``Outbox`` while MLflow is away. The ``TrainingLock`` of a spec names its
``TrainingRun``.
"""
