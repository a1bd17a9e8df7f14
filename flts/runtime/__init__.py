"""How a stage is started: command line, KFP executor input."""
