"""The commands, one module a verb: each parses its options, calls one library function and prints the result."""
