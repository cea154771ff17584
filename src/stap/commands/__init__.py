"""The commands, one module per verb: each parses its options, calls one library function and prints the result."""
