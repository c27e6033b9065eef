"""The collapse study: `python -m collapse`, called by run.sh."""
