"""Demo data drawn here: street scenes, two model runs, a few realistic defects."""
