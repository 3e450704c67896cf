"""Plan and segments in, one RDB out. Makes bytes, takes no decision."""
