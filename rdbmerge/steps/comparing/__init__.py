"""The parts of `compare`: whom it asks, how the work goes, and where it goes on after an interruption."""
