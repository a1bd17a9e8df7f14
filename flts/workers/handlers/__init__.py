"""Handlers of messages, one module for each kind of stage: ``handle(received, runner)`` returns what to send."""
