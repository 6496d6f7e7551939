"""All that asks or changes the operating system, each change with its undo."""
