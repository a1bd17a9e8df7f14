"""Training: fit, score, bundle, record.

The objects of a training, in the order of its life: a ``TrainingSpec`` describes it; a ``FitResult`` holds the fitted
model, a ``FittedModel`` its scores and bundle, too; a ``Publication`` is logged to MLflow, and kept in an ``Outbox``
while MLflow is away; a ``TrainingOutcome`` is the output of the stage. The ``TrainingLock`` of a spec names its
``TrainingRun``.
"""
