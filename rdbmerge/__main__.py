"""`python -m rdbmerge`: the same as the command `rdbmerge`."""

from rdbmerge.cli import main

main(prog_name="rdbmerge")
