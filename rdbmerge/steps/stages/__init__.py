"""The stages of a run, one a module: what each depends on, what it does, what it leaves."""
