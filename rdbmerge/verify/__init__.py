"""A second opinion on a merged RDB, by code that does not share the writer."""
