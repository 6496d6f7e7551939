"""The commands: parse, call one function, show what came of it."""
