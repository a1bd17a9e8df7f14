"""What the worker of each stage makes of the messages it receives: ``handle(received, desk)`` of each module."""
