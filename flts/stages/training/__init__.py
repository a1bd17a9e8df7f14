"""Training: fit, score, bundle, publish.

The objects of a training, in the order of its life: a ``TrainingSpec`` describes it; a ``FitResult`` holds the fitted
model, a ``FittedModel`` its scores and bundle, too; a ``Publication`` is logged to MLflow by
``flts.stages.publishing``; a ``TrainingOutcome`` is the output of the stage.
"""
