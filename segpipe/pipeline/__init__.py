"""segpipe as a Dagster project. The core library never imports this package."""
