"""One module for each command: HELP, `configure(parser)` and `execute(args, console) -> int`."""
