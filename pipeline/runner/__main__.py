"""``python -m pipeline.runner``: run the pipeline; ``make run`` calls this."""

import sys

from pipeline.runner.command import main

if __name__ == "__main__":
    sys.exit(main())
