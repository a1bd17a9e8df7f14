"""Names of the topics that join the stages in Kafka mode; others know them, so that they stay."""

REQUESTS = "preprocess-requests"
TRAINING_DATA = "training-data"
INFERENCE_DATA = "inference-data"
TRAINED_MODELS = "model-training"
SELECTED_MODELS = "model-selected"
PERFORMANCE = "performance-eval"
