"""Pure rules of the translation: values in, values out; no socket, clock or log."""
