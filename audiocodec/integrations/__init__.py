"""The codec in the terms of other projects: nothing of theirs is imported before it is used."""
