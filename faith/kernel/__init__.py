"""Everything that reads or changes the operating system, each change with its undo."""
