"""Pure decisions: what a merge keeps, drops and changes, before a byte is written."""
