"""rdbmerge: many Redis and Valkey servers into one verified RDB."""

__version__ = "0.1.0"
