"""A second opinion on a merged file. Never asks the code that wrote it."""
